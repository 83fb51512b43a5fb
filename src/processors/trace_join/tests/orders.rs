//! Whatever comes in whatever order, the answer is that of a search through all spans.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Something that comes.
#[derive(Clone, Debug)]
enum Came {
    Spans(Told),
    Profile(&'static str, &'static str, (u64, u64), Vec<Ids>),
}

fn any_span() -> impl Strategy<Value = Told> {
    (0..2_usize, 0..2_usize, 1..4_u8, 1..6_u64, 0..40_u64, 0..10_u64).prop_map(
        |(tenant, service, trace, span, start, length)| Told {
            tenant: ["a", "b"][tenant],
            service: ["shop", "cart"][service],
            trace,
            span,
            start,
            end: start + length,
            ..SPAN
        },
    )
}

fn any_ids() -> impl Strategy<Value = Ids> {
    let root = prop::option::of(1..6_u64);
    let times = prop_oneof![Just(Vec::new()), prop::collection::vec(0..60_u64, 1..3)];
    (1..6_u64, root, times).prop_map(|(span, local_root, times)| Ids {
        local_root,
        times,
        ..active(span)
    })
}

fn any_profile() -> impl Strategy<Value = Came> {
    let window = (0..60_u64, 0..10_u64);
    let samples = prop::collection::vec(any_ids(), 1..5);
    (0..2_usize, 0..2_usize, window, samples).prop_map(|(tenant, service, window, samples)| {
        // a profile has timestamps at all of its samples or at none
        let has_times = samples.iter().all(|ids| !ids.times.is_empty());
        let without = |ids: Ids| Ids {
            times: if has_times { ids.times } else { Vec::new() },
            ..ids
        };
        let samples = samples.into_iter().map(without).collect();
        Came::Profile(["a", "b"][tenant], ["shop", "cart"][service], window, samples)
    })
}

/// What is to come of a sample, by looking at every span there is.
fn naively(
    known: &[Told],
    (tenant, service): (&str, &str),
    window: (u64, u64),
    ids: &Ids,
) -> (Option<(u8, u64)>, &'static str) {
    const SLACK: u64 = 5;
    let span = ids.active.unwrap();
    let of = |id: u64| known.iter().filter(move |told| told.span == id);
    let of_process = |id: u64| -> Vec<&Told> {
        of(id)
            .filter(|told| (told.tenant, told.service) == (tenant, service))
            .collect()
    };
    let is_then = |told: &&&Told| {
        let (start, end) = (told.start.saturating_sub(SLACK), told.end + SLACK);
        match &ids.times[..] {
            [] => start <= window.0 + window.1 && window.0 <= end,
            times => times.iter().all(|time| start <= *time && *time <= end),
        }
    };
    let mut same = of_process(span);
    if same.is_empty() {
        same = ids.local_root.map(of_process).unwrap_or_default();
    }
    if same.is_empty() {
        return match of(span).next() {
            None => (None, "no_span_yet"),
            Some(_) if of(span).any(|told| told.tenant == tenant) => (None, "process_mismatch"),
            Some(_) => (None, "tenant_mismatch"),
        };
    }
    let traces: BTreeSet<u8> = same.iter().filter(is_then).map(|told| told.trace).collect();
    match traces.iter().collect::<Vec<_>>()[..] {
        [] => (None, "time_mismatch"),
        [trace] => (Some((*trace, span)), "joined"),
        _ => (None, "ambiguous"),
    }
}

proptest! {
    #[test]
    fn prop_every_link_is_that_of_a_search_through_all_spans(
        came in prop::collection::vec(prop_oneof![any_span().prop_map(Came::Spans), any_profile()], 1..60),
        holds in any::<bool>(),
    ) {
        let hold = if holds { "1s" } else { "0s" };
        let mut joins = Joins::new(json!({"attributes": [], "hold": hold}));
        let (mut known, mut waiting, mut results) = (Vec::<Told>::new(), Vec::new(), BTreeMap::new());
        let mut compare = |known: &[Told], batch: &Batch, came: &Came, has_waited: bool| {
            let Came::Profile(tenant, service, window, samples) = came else { unreachable!() };
            for (ids, says) in samples.iter().zip(told(batch)) {
                let (link, result) = naively(known, (tenant, service), *window, ids);
                let result = match result {
                    "no_span_yet" if has_waited => "expired",
                    result => result,
                };
                assert_eq!(says.0, link, "{ids:?}: {result}");
                *results.entry(result).or_insert(0) += 1;
            }
        };
        for one in &came {
            match one {
                Came::Spans(span) => {
                    joins.take(spans(std::slice::from_ref(span)));
                    let key = |told: &Told| (told.tenant, told.service, told.trace, told.span);
                    if known.iter().all(|told| key(told) != key(span)) {
                        known.push(span.clone());
                    }
                }
                Came::Profile(tenant, service, window, samples) => {
                    let batch = profile((tenant, service), *window, samples);
                    match joins.of_profiles.process_at(batch, joins.now) {
                        Verdict::Pass { batch, .. } => compare(&known, &batch, one, false),
                        Verdict::Hold(gone) if gone.is_empty() => waiting.push(one),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        prop_assert!(holds || waiting.is_empty());
        joins.wait(Duration::from_secs(1));
        let gone = joins.of_profiles.flush_at(false, joins.now);
        prop_assert_eq!(gone.len(), waiting.len());
        for (batch, came) in gone.iter().zip(waiting) {
            compare(&known, batch, came, true);
        }
        prop_assert_eq!(joins.results(), results);
        joins.check_books();
    }

    #[test]
    fn prop_any_bytes_of_spans_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let joins = Joins::new(json!({"links": "only_exported"}));
        let mut request = ExportTraceServiceRequest { resource_spans: vec![SPAN.message()] }.encode_to_vec();
        let at = at.index(request.len());
        request.splice(at..(at + bytes.len()).min(request.len()), bytes);
        if Traces::new(request.clone().into(), &FormatLimits::default()).is_ok() {
            joins.take(raw_spans("a", request));
            joins.join(profile(SHOP, (0, 60), &[active(7), linked(1, 7)]));
        }
        joins.check_books();
    }
}
