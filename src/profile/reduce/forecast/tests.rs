//! What is forecast is what happens.

use super::*;
use crate::profile::{ContentHashes, Counts, Observations, Order, Profiles, Samples, Sampling, ValueType};

/// A made CPU profile: `main` calls itself, and one of ten functions; nine of the ten are named alike by two ids.
fn program() -> Profiles {
    let mut d = Dictionary::default();
    let mut place = |name: &str| {
        let name = d.strings.push(name);
        d.push_named(name)
    };
    let main = place("main");
    let places: Vec<LocationId> = (0..20).map(|n| place(&format!("f{}", n % 10))).collect();
    let mut samples = Samples::default();
    let mut values = Vec::new();
    for row in 0..2_000 {
        let middle = places[row / 20 % 20];
        samples
            .stacks
            .push(d.stacks.push(&[places[row % 20], middle, main, main]));
        samples.attributes.push(Default::default());
        samples.links.push(Default::default());
        values.extend([1 + (row % 20) as i64 / 4, 10 * (1 + (row % 20) as i64 / 4)]);
    }
    samples.observations = Observations::Totals(values);
    let mut of = |kind: &str, unit: &str| ValueType {
        kind: d.strings.push(kind),
        unit: d.strings.push(unit),
    };
    let profile = Profile {
        sample_types: vec![of("samples", "count"), of("cpu", "nanoseconds")],
        period_type: of("cpu", "nanoseconds"),
        period: 10_000_000,
        samples: samples.into(),
        ..Profile::default()
    };
    Profiles::of(d, vec![profile])
}

#[test]
fn thinning_is_as_far_off_as_is_said() {
    let profiles = program();
    let (d, at) = (profiles.dictionary(), profiles.iter().next().unwrap());
    let sampling = Sampling::of(d, at.profile).unwrap();
    let thinning = Thinning::to_rate(&sampling, at.profile, 20.0, true);
    let forecast = Forecast::of_thinning(d, at.profile, &thinning, 10);
    assert!((forecast.kept - 0.2).abs() < 1e-9);
    let [errors] = forecast.types.as_slice() else {
        panic!("{forecast:?}")
    };
    let all = Counts::Column(0).of_all(&at.profile.samples, 2) as f64;
    assert!(
        (errors.total - 5.0 / all).abs() < 1e-9,
        "less than one of those that are kept"
    );
    assert_eq!(errors.top.len(), 10);
    assert!(errors.top.is_sorted_by(|a, b| a.own.value >= b.own.value));
    assert_eq!(
        errors.top.iter().map(|of| of.own.value).sum::<f64>(),
        all,
        "ids of one name are one function"
    );
    for of in &errors.top {
        let by_chance = |n: f64| (0.8 / (0.2 * n)).sqrt();
        assert!((of.own.error - by_chance(of.own.value)).abs() < 1e-9);
        assert!((of.whole.error - by_chance(of.whole.value)).abs() < 1e-9 && of.whole.value > of.own.value);
    }
    let told = forecast.to_string();
    assert!(
        told.starts_with("20.0 % are kept; the total within 0.1 %, functions by rank "),
        "{told}"
    );
    assert!(errors.top.iter().all(|of| !told.contains(d.str(of.name))), "{told}");
    // what calls all of them is not among them, as nothing was measured in itself
    assert!(errors.top.iter().all(|of| d.str(of.name).starts_with('f')));
}

#[test]
fn what_is_said_of_a_function_happens_to_it() {
    let profiles = program();
    let (d, at) = (profiles.dictionary(), profiles.iter().next().unwrap());
    let samples = &at.profile.samples;
    let choice = Choice::of(samples, 2, 400, true).unwrap();
    let order = Order::of(&mut ContentHashes::of(d), samples.stacks.iter().copied());
    let forecast = Forecast::of_leaving(d, at.profile, 400, true, 3).unwrap();
    assert_eq!((forecast.kept, forecast.types.len()), (0.2, 2));
    assert!(
        forecast.to_string().contains("; type 2: the total within 0.0 %"),
        "{forecast}"
    );
    assert_eq!(forecast.types[0].total, 0.0);
    let own_of = |samples: &Samples, name: &str, column: usize| {
        let rows = samples.stacks.iter().enumerate().filter(|(_, stack)| {
            let line = d.stacks[**stack].first().and_then(|leaf| d.lines[*leaf].first());
            line.is_some_and(|line| d.str(d.functions[line.function].name) == name)
        });
        rows.map(|(row, _)| samples.total(row, column, 2) as f64).sum::<f64>()
    };
    for (column, errors) in forecast.types.iter().enumerate() {
        for of in &errors.top {
            let name = d.str(of.name);
            assert_eq!(own_of(&at.profile.samples, name, column), of.own.value);
            let rounds = 200;
            let squares = (0..rounds).map(|seed: u64| {
                let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let left = choice.take(&order, seed).samples;
                (own_of(&left, name, column) / of.own.value - 1.0).powi(2)
            });
            let error = (squares.sum::<f64>() / rounds as f64).sqrt();
            // an even choice does better than chance; the rest is five standard deviations of what so many rounds tell
            assert!(
                error > 0.0 && error < 1.25 * of.own.error,
                "{name}: {error} {}",
                of.own.error
            );
        }
    }
}

#[test]
fn nothing_is_forecast_where_nothing_happens() {
    let profiles = program();
    let (d, at) = (profiles.dictionary(), profiles.iter().next().unwrap());
    assert_eq!(Forecast::of_leaving(d, at.profile, 2_000, true, 10), None);
    let sampling = Sampling::of(d, at.profile).unwrap();
    let forecast = Forecast::of_thinning(
        d,
        at.profile,
        &Thinning::to_rate(&sampling, at.profile, 100.0, true),
        10,
    );
    assert_eq!((forecast.kept, forecast.types[0].total), (1.0, 0.0));
    assert!(
        forecast.types[0]
            .top
            .iter()
            .all(|of| of.own.error == 0.0 && of.whole.error == 0.0)
    );
}
