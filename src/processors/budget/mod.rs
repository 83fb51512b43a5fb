//! `budget`: what each service may have, shared out fairly, and kept without bending the numbers.

pub mod config;
pub mod matching;
pub mod month;
pub mod services;
