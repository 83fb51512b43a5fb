//! The real binary, from outside.

mod cli;
mod daemon;
mod quickstart;
mod support;
