//! The package, module or namespace that a frame belongs to, whatever its language.

use regex::Regex;

use crate::pipeline::matcher::{Exact, Pattern};
use crate::processors::redaction::patterns::compile;

/// A pattern of packages. It matches what lies below a package too.
#[derive(Debug)]
pub struct PackagePattern(Regex);

impl PackagePattern {
    /// Compiles a pattern.
    pub fn new(pattern: &Pattern) -> Result<Self, String> {
        let text = match pattern {
            Pattern::Exact(Exact::Regex(regex)) => return compile(regex).map(Self),
            Pattern::Exact(Exact::Eq(text)) => regex::escape(text),
            Pattern::Glob(glob) => regex::escape(glob).replace(r"\*", ".*").replace(r"\?", "."),
        };
        compile(&format!(r"(?s)\A{text}(?:\z|[./:$\\])")).map(Self)
    }

    /// Whether the frame lies in such a package.
    pub fn is_match(&self, name: &str, file: &str) -> bool {
        let of_name = package(name);
        let packages = [of_name, package_of_file(file)];
        packages.into_iter().flatten().any(|package| {
            self.0.is_match(package) || (package.contains('/') && self.0.is_match(&package.replace('/', ".")))
        })
    }
}

/// `github.com/acme/shop` of `github.com/acme/shop.(*Cart).Add`, `com.acme.Cart` of `com.acme.Cart.add(int)`, `acme::shop` of
/// `void acme::shop::add<int>(int)`. None if the name has no package.
fn package(name: &str) -> Option<&str> {
    let name = name.trim_start_matches(['<', '&', '*', ' ']);
    let plain = name
        .find(['(', '<', '[', '{'])
        .map_or(name, |at| name.get(..at).unwrap_or(name));
    // `<acme::Price as core::fmt::Debug>::fmt`; `void acme::add`
    let plain = match plain.split_once(" as ") {
        Some((kind, _)) => kind,
        None => plain.rsplit(' ').find(|word| !word.is_empty())?,
    };
    if let Some(package) = plain.strip_suffix(['.', ':', '/']) {
        return Some(package.trim_end_matches([':', '.']));
    }
    let slash = plain.rfind('/').map_or(0, |at| at + 1);
    let end = plain.rfind("::").or_else(|| {
        let last = plain.get(slash..)?;
        last.rfind('.').map(|dot| slash + dot)
    })?;
    plain.get(..end).filter(|package| !package.is_empty())
}

/// `express` of `/app/node_modules/express/lib/router.js`; none outside of folders that hold packages.
fn package_of_file(file: &str) -> Option<&str> {
    let folders = ["node_modules/", "site-packages/", "dist-packages/"];
    let (_, rest) = folders.iter().find_map(|folder| file.rsplit_once(folder))?;
    let end = rest.rfind('/')?;
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_in_names_of_every_language() {
        for (name, expected) in [
            ("github.com/acme/shop.(*Cart).Add", Some("github.com/acme/shop")),
            ("github.com/acme/shop.Add", Some("github.com/acme/shop")),
            ("com.acme.Cart.add(int)", Some("com.acme.Cart")),
            ("com/acme/Cart.add", Some("com/acme/Cart")),
            ("void acme::shop::add<int>(int)", Some("acme::shop")),
            ("<acme::Price as core::fmt::Debug>::fmt", Some("acme")),
            ("main.main", Some("main")),
            ("price", None),
            ("", None),
        ] {
            assert_eq!(package(name), expected, "{name}");
        }
    }

    #[test]
    fn a_pattern_holds_for_what_lies_below_and_not_for_a_longer_word() {
        let pattern = |text: &str| PackagePattern::new(&Pattern::Glob(text.to_owned())).unwrap();
        let acme = pattern("com.acme");
        assert!(acme.is_match("com.acme.shop.Cart.add", "") && acme.is_match("com/acme/shop/Cart.add", ""));
        assert!(!acme.is_match("com.acmeworks.Cart.add", ""));
        assert!(pattern("github.com/acme/*").is_match("github.com/acme/shop.Add", ""));
        assert!(pattern("express").is_match("handle", "/app/node_modules/express/lib/router.js"));
        assert!(!pattern("express").is_match("handle", "/app/express.js"));
    }
}
