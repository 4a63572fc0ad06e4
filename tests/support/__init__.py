"""What several tests share: builders of streams and objects, servers, clocks, terminals and pictures."""
