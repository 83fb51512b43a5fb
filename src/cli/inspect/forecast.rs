//! `inspect --thin HZ` and `--leave ROWS`: how far off a profile would be.

use clap::Args;
use serde::Serialize;

use crate::profile::{Dictionary, Errors, Estimate, Expected, Forecast, Profile, Sampling, Thinning, Unsampled};

/// What is to be foretold.
#[derive(Args, Clone, Copy)]
#[group(multiple = false)]
pub struct Reduction {
    /// Say how far off each profile would be, thinned to so many looks per second
    #[arg(long, value_name = "HZ", value_parser = hz)]
    thin: Option<f64>,
    /// Say how far off each profile would be, were so many of its samples left
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(16..))]
    leave: Option<u32>,
}

fn hz(text: &str) -> Result<f64, &'static str> {
    let hz = text.parse().ok().filter(|hz| (0.001..=100_000.0).contains(hz));
    hz.ok_or("a rate is a number of 0.001 to 100000 looks per second")
}

/// What would become of a profile.
#[derive(Debug, Serialize)]
pub struct Foretold {
    /// What would be done, or why nothing would.
    pub what: String,
    /// What is left of the looks or of the samples, of 100.
    pub kept_percent: f64,
    /// The total is off by no more, of 100.
    pub total_percent: f64,
    /// The functions with the most in themselves.
    pub functions: Vec<Function>,
}

/// How far off a function would be: the standard deviation, of 100.
#[derive(Debug, Serialize)]
pub struct Function {
    /// Its name.
    pub function: String,
    /// Of what was measured in itself.
    pub own_percent: f64,
    /// Of that with what it calls.
    pub whole_percent: f64,
}

impl Reduction {
    /// What would become of a profile; none if that was not asked. Of several types it is about this one.
    pub fn foretell(self, d: &Dictionary, profile: &Profile, column: usize, top: usize) -> Option<Foretold> {
        match (self.thin, self.leave) {
            (Some(hz), _) => Some(thinned(d, profile, hz, top)),
            (_, Some(rows)) => Some(left(d, profile, rows as usize, column, top)),
            (None, None) => None,
        }
    }
}

fn thinned(d: &Dictionary, profile: &Profile, hz: f64, top: usize) -> Foretold {
    let sampling = match Sampling::of(d, profile) {
        Ok(sampling) if sampling.exceeds(hz) => sampling,
        Ok(sampling) => return Foretold::as_it_is(&format!("it has {:.0} looks per second", sampling.hz)),
        Err(Unsampled::Empty) => return Foretold::as_it_is("it has no samples"),
        Err(Unsampled::Weighted) => return Foretold::as_it_is("its values are weights, and no counts of looks"),
        Err(Unsampled::NoRate) => return Foretold::as_it_is("nothing says how often the profiler looked"),
    };
    let thinning = Thinning::to_rate(&sampling, profile, hz, true);
    let forecast = Forecast::of_thinning(d, profile, &thinning, top);
    Foretold::of(
        d,
        &forecast,
        0,
        format!("thinned from {:.0} to {hz} looks per second", sampling.hz),
    )
}

fn left(d: &Dictionary, profile: &Profile, rows: usize, column: usize, top: usize) -> Foretold {
    match Forecast::of_leaving(d, profile, rows, true, top) {
        Some(forecast) => Foretold::of(d, &forecast, column, format!("of {rows} samples")),
        None => Foretold::as_it_is("it has no more samples, or values below zero"),
    }
}

impl Foretold {
    fn as_it_is(why: &str) -> Self {
        Self {
            what: format!("as it is: {why}"),
            kept_percent: 100.0,
            total_percent: 0.0,
            functions: Vec::new(),
        }
    }

    fn of(d: &Dictionary, forecast: &Forecast, column: usize, what: String) -> Self {
        let function = |of: &Expected| {
            let percent = |estimate: Estimate| rounded(estimate.error);
            Function {
                function: d.str(of.name).to_owned(),
                own_percent: percent(of.own),
                whole_percent: percent(of.whole),
            }
        };
        let errors = forecast.types.get(column);
        let functions = |errors: &Errors| errors.top.iter().map(function).collect();
        Self {
            what,
            kept_percent: rounded(forecast.kept),
            total_percent: errors.map_or(0.0, |errors| rounded(errors.total)),
            functions: errors.map(functions).unwrap_or_default(),
        }
    }
}

/// In parts of 100, with two digits.
fn rounded(part: f64) -> f64 {
    (part * 10_000.0).round() / 100.0
}
