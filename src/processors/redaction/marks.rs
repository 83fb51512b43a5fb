//! Fingerprints of secrets for the audit trail: made only on request, and never of what a person could be known by.

use std::sync::LazyLock;

use super::detectors::{Detector, Detectors, Place};
use super::measures::Class;
use super::pass::Pass;

/// What tells that a secret is about somebody, whatever the policy looks for.
static PERSONAL: LazyLock<Option<Detectors>> =
    LazyLock::new(|| Detectors::new(&[Detector::Pii, Detector::Phones]).ok());

impl Pass<'_> {
    /// Remembers the secrets that detectors find in a text which was masked.
    pub(super) fn mark(&mut self, text: &str, class: Class, carrier: &'static str) {
        if self.marker.is_none() {
            return;
        }
        let mut secrets: Vec<(&'static str, String)> = Vec::new();
        let detectors = &self.measures.detectors;
        detectors.mask(text, class.place(), |rule, part| {
            if Detectors::is_secret(rule) {
                secrets.push((rule, part.to_owned()));
            }
        });
        for (rule, secret) in secrets {
            self.mark_secret(rule, &secret, carrier);
        }
    }

    /// Remembers a secret.
    pub(super) fn mark_secret(&mut self, rule: &'static str, secret: &str, carrier: &'static str) {
        let personal = PERSONAL.as_ref();
        let is_personal = |secret| personal.is_none_or(|found| found.mask(secret, Place::Text, |_, _| {}).is_some());
        if let Some(marker) = &self.marker
            && !secret.is_empty()
            && !is_personal(secret)
        {
            self.report.mark(rule, carrier, marker.mark(secret.as_bytes()));
        }
    }
}
