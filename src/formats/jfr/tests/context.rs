//! What tells to which request a sample belongs, in chunks made by hand: as the agents of tracers write it.

use super::writer::Value;
use super::writer::*;
use super::*;
use crate::formats::Limit;
use How::{Plain, Reference};
use Value::{Byte, Int, Long, Text};

const SPAN: u64 = 40;
const REQUEST: u64 = 41;
const DATADOG: u64 = 42;
const ATTRIBUTE: u64 = 43;
const FORK: u64 = 44;
const CPU_TIME: u64 = 45;
const LOST: u64 = 46;
const ENDPOINT: u64 = 47;
const MALLOC: u64 = 48;
const SOCKET: u64 = 49;
const EXCEPTION: u64 = 50;

/// async-profiler's spans, an application's own, and the samples of Datadog, of Grafana's fork and of JDK 25.
const EVENTS: &[Type<'static>] = &[
    (
        SPAN,
        "profiler.Span",
        &[
            ("startTime", LONG, Plain),
            ("duration", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("tag", STRING, Reference),
        ],
    ),
    (
        REQUEST,
        "com.acme.Request",
        &[
            ("startTime", LONG, Plain),
            ("duration", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("card", STRING, Plain),
            ("traceId", STRING, Plain),
            ("spanId", STRING, Plain),
        ],
    ),
    (ATTRIBUTE, "profiler.types.AttributeValue", &[("value", STRING, Plain)]),
    (
        DATADOG,
        "datadog.ExecutionSample",
        &[
            ("startTime", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
            ("weight", LONG, Plain),
            ("spanId", LONG, Plain),
            ("localRootSpanId", LONG, Plain),
            ("http.route", ATTRIBUTE, Reference),
            ("thread.name", ATTRIBUTE, Reference),
        ],
    ),
    (
        FORK,
        "profiler.WallClockSample",
        &[
            ("startTime", LONG, Plain),
            ("sampledThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
            ("samples", INT, Plain),
            ("contextId", LONG, Plain),
            ("spanId", LONG, Plain),
            ("spanName", LONG, Plain),
            ("traceIdHi", LONG, Plain),
            ("traceIdLo", LONG, Plain),
        ],
    ),
    (
        CPU_TIME,
        "jdk.CPUTimeSample",
        &[
            ("startTime", LONG, Plain),
            ("stackTrace", STACK, Reference),
            ("eventThread", THREAD, Reference),
            ("failed", BOOLEAN, Plain),
            ("samplingPeriod", LONG, Plain),
        ],
    ),
    (
        LOST,
        "jdk.CPUTimeSamplesLost",
        &[
            ("startTime", LONG, Plain),
            ("lostSamples", INT, Plain),
            ("eventThread", THREAD, Reference),
        ],
    ),
    (
        ENDPOINT,
        "datadog.Endpoint",
        &[
            ("startTime", LONG, Plain),
            ("duration", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
            ("endpoint", STRING, Plain),
            ("operation", STRING, Plain),
            ("localRootSpanId", LONG, Plain),
        ],
    ),
    (
        MALLOC,
        "datadog.NativeMemoryAllocation",
        &[
            ("startTime", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
            ("address", LONG, Plain),
            ("size", LONG, Plain),
            ("weight", LONG, Plain),
            ("spanId", LONG, Plain),
            ("localRootSpanId", LONG, Plain),
        ],
    ),
    (
        SOCKET,
        "datadog.NativeSocketEvent",
        &[
            ("startTime", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
            ("duration", LONG, Plain),
            ("operation", STRING, Plain),
            ("remoteAddress", STRING, Plain),
            ("bytesTransferred", LONG, Plain),
            ("weight", LONG, Plain),
            ("spanId", LONG, Plain),
            ("localRootSpanId", LONG, Plain),
        ],
    ),
    (
        EXCEPTION,
        "datadog.ExceptionSample",
        &[
            ("startTime", LONG, Plain),
            ("eventThread", THREAD, Reference),
            ("stackTrace", STACK, Reference),
            ("type", STRING, Plain),
            ("message", STRING, Plain),
            ("sampled", BOOLEAN, Plain),
            ("localRootSpanId", LONG, Plain),
            ("spanId", LONG, Plain),
        ],
    ),
];

const TRACE: &str = "0123456789abcdef0123456789ABCDEF";

/// A chunk with these events, one thread named `worker` (3) and the texts `GET /cart` (1) and `checkout` (2).
fn chunk(events: &[(u64, &[Value<'_>])]) -> Chunk {
    let mut chunk = Chunk::new(true);
    let v = |values: &[Value<'_>]| Chunk::new(true).values(values);
    chunk.metadata(&[TYPES, EVENTS].concat());
    for (type_id, values) in events {
        chunk.event(*type_id, &v(values));
    }
    let texts = [(1, v(&[Text("GET /cart")])), (2, v(&[Text("checkout")]))];
    let pools: [Pool<'_>; 3] = [
        (STRING, &texts),
        (ATTRIBUTE, &texts),
        (THREAD, &[(3, v(&[Text("worker")])), (4, v(&[Text("other")]))]),
    ];
    chunk.checkpoint(0, &pools);
    chunk
}

/// The labels of each sample of the first profile as `key=value`, and its link as `trace:span`.
fn told(bytes: &[u8], options: &Options<'_>) -> Vec<String> {
    let decoded = decode_within(bytes, options, &Limits::default(), &Unlimited).expect("a recording");
    assert_eq!((decoded.rejected.profiles, decoded.repairs), (0, 0));
    let d = decoded.profiles.dictionary();
    let samples = &decoded.profiles.iter().next().expect("a profile").profile.samples;
    let mut rows = Vec::new();
    for (set, link) in samples.attributes.iter().zip(&samples.links) {
        let labels = d.attributes_of(*set).map(|label| match &label.value {
            crate::profile::Value::String(text) => format!("{}={}", d.str(label.key), d.str(*text)),
            other => format!("{}={other:?}", d.str(label.key)),
        });
        let mut row: Vec<String> = labels
            .filter(|label| !label.starts_with("thread.name=worker"))
            .collect();
        if link.is_set() {
            let link = &d.links[*link];
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            row.push(format!("{}:{}", hex(&link.trace_id), hex(&link.span_id)));
        }
        rows.push(row.join(" "));
    }
    rows
}

fn sample(time: u64) -> (u64, [Value<'static>; 3]) {
    (SAMPLE, [Long(time), Long(3), Long(5)])
}

#[test]
fn samples_in_a_span_of_async_profiler_are_named_by_it() {
    let [before, inner, outer] = [sample(5), sample(25), sample(35)];
    let bytes = chunk(&[
        (SPAN, &[Long(20), Long(10), Long(3), Long(2)]),
        (SPAN, &[Long(10), Long(30), Long(3), Long(1)]),
        // of another thread, and without a name
        (SPAN, &[Long(0), Long(100), Long(4), Long(2)]),
        (SPAN, &[Long(21), Long(100), Long(3), Long(0)]),
        (before.0, &before.1),
        (inner.0, &inner.1),
        (outer.0, &outer.1),
    ])
    .finish();
    let rows = told(&bytes, &Options::default());
    assert_eq!(rows, ["", "span_name=checkout", "span_name=GET /cart"]);
}

#[test]
fn a_sample_may_be_in_a_span_with_ids_and_in_one_with_a_name() {
    let sample = sample(25);
    let card = "4111111111111111";
    let bytes = chunk(&[
        (
            REQUEST,
            &[
                Long(10),
                Long(30),
                Long(3),
                Text(card),
                Text(TRACE),
                Text("00000000000000ff"),
            ],
        ),
        (SPAN, &[Long(20), Long(10), Long(3), Long(2)]),
        (sample.0, &sample.1),
    ])
    .finish();
    let link = format!("{}:00000000000000ff", TRACE.to_lowercase());
    assert_eq!(
        told(&bytes, &Options::default()),
        [format!("span_name=checkout {link}")]
    );
    let decoded = decode(&bytes, &Limits::default()).expect("a recording");
    let d = decoded.profiles.dictionary();
    assert!(
        d.strings.ids().all(|id| !d.str(id).contains(card)),
        "what else a span says"
    );
}

#[test]
fn spans_that_end_in_the_next_chunk_are_joined() {
    let (early, late) = (sample(1_500), sample(2_500));
    let first = chunk(&[(early.0, &early.1)]).finish();
    let request = [
        Long(1_200),
        Long(1_000),
        Long(3),
        Text("-"),
        Text(TRACE),
        Text("00000000000000ff"),
    ];
    let span = [Long(1_400), Long(1_200), Long(3), Long(2)];
    let mut second = chunk(&[(REQUEST, &request), (SPAN, &span), (late.0, &late.1)]);
    second.start_ticks = 2_000;
    let second = second.finish();
    let link = format!("{}:00000000000000ff", TRACE.to_lowercase());
    let expected = [format!("span_name=checkout {link}"), "span_name=checkout".to_owned()];
    let both = [&first[..], &second].concat();
    assert_eq!(told(&both, &Options::default()), expected);
    let streamed = decode_stream(io::Cursor::new(&both), &Options::default(), &Limits::default()).expect("two chunks");
    let in_memory = decode(&both, &Limits::default()).expect("two chunks");
    assert_eq!(streamed.decoded.profiles.dictionary(), in_memory.profiles.dictionary());
    assert_eq!(told(&first, &Options::default()), [""]);
}

#[test]
fn spans_over_many_chunks_are_joined_to_all_of_them() {
    let request = |start: u64, end: u64, span: &'static str| {
        let [start, duration] = [start, end - start].map(Long);
        [start, duration, Long(3), Text("-"), Text(TRACE), Text(span)]
    };
    // chunk n begins at 1000 n, with samples at 300 and 700 behind that
    let outer = request(1_200, 4_600, "00000000000000aa");
    let inner = request(2_500, 3_500, "00000000000000bb");
    let mut bytes = Vec::new();
    for n in 0..6 {
        let samples = [300, 700].map(|behind| sample(1_000 * n + behind));
        let mut events: Vec<(u64, &[Value<'_>])> = samples.iter().map(|(id, values)| (*id, &values[..])).collect();
        match n {
            3 => events.push((REQUEST, &inner)),
            4 => events.insert(0, (REQUEST, &outer)),
            _ => {}
        }
        let mut chunk = chunk(&events);
        chunk.start_ticks = 1_000 * n;
        bytes.extend(chunk.finish());
    }
    let of = |bytes: &[u8]| {
        let decoded = decode(bytes, &Limits::default()).expect("a recording");
        let d = decoded.profiles.dictionary();
        let samples = &decoded.profiles.iter().next().expect("a profile").profile.samples;
        let mut counts = BTreeMap::new();
        for (row, link) in samples.links.iter().enumerate() {
            *counts.entry(d.links[*link].span_id[7]).or_default() += samples.total(row, 0, 2);
        }
        counts
    };
    // none: both of chunk 0, and all behind the outer one; inner: 2700 and 3300
    assert_eq!(of(&bytes), BTreeMap::from([(0, 5), (0xaa, 5), (0xbb, 2)]));
    let streamed = decode_stream(io::Cursor::new(&bytes), &Options::default(), &Limits::default()).expect("chunks");
    let in_memory = decode(&bytes, &Limits::default()).expect("chunks");
    assert_eq!(streamed.decoded.profiles.dictionary(), in_memory.profiles.dictionary());
    // without the chunk in which it ends nobody knows of it
    let size = bytes.len() / 6;
    let cut = &bytes[..bytes.len() - size - size / 2];
    assert_eq!(of(cut).get(&0xaa), None);
}

#[test]
fn endpoints_of_requests_are_labels_of_their_samples() {
    let of_root = |root: u64| {
        [
            Long(1),
            Long(3),
            Long(5),
            Long(1),
            Long(9),
            Long(root),
            Long(0),
            Long(0),
        ]
    };
    let [seven, eight, none] = [7, 8, 0].map(of_root);
    let endpoint = |root: u64, name: &'static str| {
        [
            Long(5),
            Long(0),
            Long(3),
            Long(0),
            Text(name),
            Text("servlet.request"),
            Long(root),
        ]
    };
    let first = chunk(&[(DATADOG, &seven), (DATADOG, &eight), (DATADOG, &none)]).finish();
    let mut second = chunk(&[
        (ENDPOINT, &endpoint(7, "GET /cart")),
        (ENDPOINT, &endpoint(0, "nowhere")),
        (ENDPOINT, &endpoint(8, "")),
    ]);
    second.start_ticks = 1_000;
    let both = [&first[..], &second.finish()].concat();
    assert_eq!(
        told(&both, &Options::default()),
        [
            "local root span id=7 span id=9 trace endpoint=GET /cart",
            "local root span id=8 span id=9",
            "span id=9"
        ]
    );
    // of more than there may be at all, nothing is read
    let few = Limits {
        elements: 1,
        ..Limits::default()
    };
    let mut many = chunk(&[
        (ENDPOINT, &endpoint(7, "GET /cart")),
        (ENDPOINT, &endpoint(8, "GET /list")),
    ]);
    let error = decode(&many.finish(), &few).expect_err("too many");
    assert!(matches!(error.fault, Fault::TooLarge(Limit::Elements)), "{error}");
}

#[test]
fn a_clock_that_was_measured_anew_counts_from_the_beginning_of_its_chunk() {
    let (inside, outside) = (sample(50_000_000), sample(500_000_000));
    let first = chunk(&[(inside.0, &inside.1), (outside.0, &outside.1)]).finish();
    // the second chunk begins with the first: its span from 50 ms before that to 100 ms behind
    let begin = 4_000_000_000;
    let mut second = chunk(&[(SPAN, &[Long(begin - 100_000_000), Long(300_000_000), Long(3), Long(2)])]);
    second.start_ticks = begin;
    second.ticks_per_second = 2_000_000_000;
    let both = [first, second.finish()].concat();
    assert_eq!(told(&both, &Options::default()), ["span_name=checkout", ""]);
}

#[test]
fn what_else_datadogs_agent_samples_is_read_without_what_it_says() {
    let (message, address) = ("card 4111111111111111", "10.1.2.3:5432");
    let chunk = |type_id, values: &[Value<'_>]| chunk(&[(type_id, values)]).finish();
    let malloc = chunk(
        MALLOC,
        &[
            Long(1),
            Long(3),
            Long(5),
            Long(64),
            Long(100),
            Long(3),
            Long(8),
            Long(7),
        ],
    );
    let socket = chunk(
        SOCKET,
        &[
            Long(1),
            Long(3),
            Long(5),
            Long(40),
            Text("SEND"),
            Text(address),
            Long(9),
            Long(2),
            Long(8),
            Long(7),
        ],
    );
    let class = Text("java.io.IOException");
    let exception = chunk(
        EXCEPTION,
        &[
            Long(1),
            Long(3),
            Long(5),
            class,
            Text(message),
            Byte(1),
            Long(7),
            Long(8),
        ],
    );
    let off_cpu = Options {
        off_cpu: true,
        ..Options::default()
    };
    let ids = "local root span id=7 span id=8";
    for (bytes, types, values, labels) in [
        (
            &malloc,
            ["malloc_objects", "malloc_bytes"].as_slice(),
            [3, 300].as_slice(),
            ids.to_owned(),
        ),
        (
            &socket,
            &["off_cpu_count", "off_cpu"],
            &[2, 80],
            format!("off_cpu.reason=socket {ids}"),
        ),
        (
            &exception,
            &["exceptions"],
            &[1],
            format!("{ids} exception.type=java.io.IOException"),
        ),
    ] {
        let decoded = decode_within(bytes, &off_cpu, &Limits::default(), &Unlimited).expect("a recording");
        let at = decoded.profiles.iter().next().expect("a profile");
        let d = decoded.profiles.dictionary();
        let names: Vec<&str> = at.profile.sample_types.iter().map(|of| d.str(of.kind)).collect();
        assert_eq!(names, types);
        let total = |of| at.profile.samples.total(0, of, types.len());
        let totals: Vec<i64> = (0..types.len()).map(total).collect();
        assert_eq!(totals, values);
        assert_eq!(told(bytes, &off_cpu), [labels]);
        let kept = |text: &&str| d.strings.ids().any(|id| d.str(id) == *text);
        assert!(![message, address, "SEND"].iter().any(kept));
    }
    let without = decode_within(&socket, &Options::default(), &Limits::default(), &Unlimited);
    assert_eq!(
        without.expect("a recording").profiles.iter().count(),
        0,
        "waits are asked for"
    );
}

#[test]
fn attributes_that_applications_give_to_datadog_are_labels() {
    let bytes = chunk(&[
        (
            DATADOG,
            &[
                Long(1),
                Long(3),
                Long(5),
                Long(2),
                Long(u64::MAX),
                Long(7),
                Long(1),
                Long(0),
            ],
        ),
        // a label of its own under a key of ours
        (
            DATADOG,
            &[Long(1), Long(3), Long(5), Long(1), Long(0), Long(0), Long(2), Long(1)],
        ),
        (
            DATADOG,
            &[Long(1), Long(3), Long(5), Long(1), Long(0), Long(0), Long(0), Long(0)],
        ),
    ])
    .finish();
    let rows = told(&bytes, &Options::default());
    assert_eq!(
        rows,
        [
            "local root span id=7 span id=18446744073709551615 http.route=GET /cart",
            "http.route=checkout",
            ""
        ]
    );
}

#[test]
fn ids_of_grafanas_fork_become_a_link_where_it_has_the_trace() {
    // context 9 is the label `k`=`v`, and text 8 the name of a span
    let labels = [
        b"\x0a\x0a\x08\x09\x12\x06\x0a\x04\x08\x01\x10\x02".as_slice(),
        b"\x12\x05\x08\x01\x12\x01k\x12\x05\x08\x02\x12\x01v\x12\x05\x08\x08\x12\x01n",
    ]
    .concat();
    let options = Options {
        labels: &labels,
        ..Options::default()
    };
    let row = |ids: [u64; 5]| {
        let [context, span, name, high, low] = ids.map(Long);
        [Long(1), Long(3), Long(5), Int(1), context, span, name, high, low]
    };
    let rows = [
        [9, 0xff, 8, 0x0123, 0xabcd],
        [9, 0xff, 8, 0, 0],
        [0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0],
    ]
    .map(row);
    let events = rows.each_ref().map(|row| (FORK, &row[..]));
    let told = told(&chunk(&events).finish(), &options);
    assert_eq!(
        told,
        [
            "k=v span_name=n 0000000000000123000000000000abcd:00000000000000ff",
            "k=v span_name=n profile_id=00000000000000ff",
            "",
            "span_name=k",
        ]
    );
}

#[test]
fn samples_that_were_lost_or_failed_are_counted() {
    let bytes = chunk(&[
        (CPU_TIME, &[Long(1), Long(5), Long(3), Byte(0), Long(10)]),
        (CPU_TIME, &[Long(1), Long(0), Long(3), Byte(1), Long(20)]),
        (LOST, &[Long(1), Int(4), Long(3)]),
        (LOST, &[Long(1), Int(3), Long(3)]),
    ])
    .finish();
    let decoded = decode(&bytes, &Limits::default()).expect("a recording");
    let d = decoded.profiles.dictionary();
    let profile = decoded.profiles.iter().next().expect("a profile").profile;
    assert_eq!([0, 1].map(|column| profile.samples.sum(column, 2)), [2, 30]);
    let lost = d.attribute(profile.attributes, LOST_SAMPLES);
    assert_eq!(lost, Some(&crate::profile::Value::Int(7)));
    let leaf = |row: usize| {
        let location = d.stacks[profile.samples.stacks[row]][0];
        d.str(d.functions[d.lines[location][0].function].name)
    };
    assert_eq!([leaf(0), leaf(1)], ["[unknown]", "[failed]"]);
}
