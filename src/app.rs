//! Configuration to running daemon: graph, signals, drain.
