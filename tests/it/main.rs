//! The real binary, from outside.

mod cli;
mod daemon;
mod support;
