//! Flame graphs: one sample type as a picture ([`svg`]), or everything as a page to look around in ([`html`]).
//!
//! Frames of equal name and file are one; inlined functions are frames of their own. Labels stay out.

mod html;
mod svg;

pub use html::encode as html;
pub use svg::encode as svg;

#[cfg(test)]
mod tests;
