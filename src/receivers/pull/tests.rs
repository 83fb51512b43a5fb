use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_ENCODING, LOCATION};

use super::*;
use crate::formats::compress::compress;
use crate::formats::{Compression, Limits};
use crate::net::client::{ClientSettings, Protocol, Reach};
use crate::pipeline::follow::Followed;
use crate::pipeline::outlet::{Intake, Job};
use crate::pipeline::{Budget, Receipt, Refusal};
use crate::profile::Profiles;
use crate::receivers::jfr::JfrConfig;
use crate::receivers::testing::{Engine, profile_attributes, resource};
use crate::telemetry::Metrics;

const SOON: Duration = Duration::from_millis(50);

/// Serves on every loopback address until the test ends.
async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0)))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

fn recording(name: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { crate::testing::data(name) })
}

fn client(reach: Reach) -> Client {
    Client::within(reach, Protocol::Http, &ClientSettings::default()).unwrap()
}

fn here() -> Client {
    client(Reach {
        loopback: true,
        ..Reach::default()
    })
}

fn capture(path: &str) -> Capture {
    Capture {
        name: path.trim_start_matches('/').into(),
        path: path.to_owned(),
        takes: Duration::ZERO,
        timeout: Duration::from_secs(5),
        delta: true,
        pyroscope_name: None,
    }
}

fn target(address: &str, service: &str, captures: &[Capture]) -> Arc<Target> {
    let mut labels = Series::default();
    labels.label("service.name", service).unwrap();
    labels.label("service.instance.id", address).unwrap();
    Arc::new(Target {
        base: format!("http://{address}").into(),
        labels,
        tenant: "default".into(),
        service: service.into(),
        captures: captures.into(),
        client: here(),
    })
}

/// A puller at work.
struct Running {
    engine: Arc<Engine>,
    metrics: ScrapeMetrics,
    list: Arc<Targets>,
    tell: watch::Sender<Found>,
    stop: Stop,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(targets: &[Arc<Target>]) -> Self {
        Self::start_as(targets, SOON, 0.34, Engine::new())
    }

    fn start_as(targets: &[Arc<Target>], interval: Duration, share: f64, engine: Arc<Engine>) -> Self {
        let outlet = engine.outlet();
        Self::start_into(targets, interval, share, engine, outlet)
    }

    fn start_into(
        targets: &[Arc<Target>],
        interval: Duration,
        share: f64,
        engine: Arc<Engine>,
        outlet: Outlet,
    ) -> Self {
        let (all, id) = (Metrics::default(), "scrape".into());
        let (metrics, list) = (all.scrape(&id), all.targets(&id));
        let puller = Puller {
            pace: Pace {
                interval,
                share,
                most: 16,
            },
            begin: Begin::After(Duration::ZERO),
            max_bytes: 1 << 20,
            reading: Reading {
                limits: Limits {
                    decompressed_bytes: 4 << 20,
                    ..Limits::USUAL
                },
                jfr: JfrConfig::default(),
            },
            delta_bytes: 1 << 20,
            metrics: metrics.clone(),
            targets: list.clone(),
        };
        let (tell, found) = watch::channel(Found {
            targets: targets.to_vec(),
            left_out: 0,
        });
        let stop = Stop::new();
        let asked = stop.clone();
        let task = tokio::spawn(async move { puller.run(found, &outlet, &asked).await });
        Self {
            engine,
            metrics,
            list,
            tell,
            stop,
            task,
        }
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begin = std::time::Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < Duration::from_secs(60), "waited too long for {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn profiles(&self, least: usize) -> Vec<Profiles> {
        let mut all = Vec::new();
        self.until("profiles", |running| {
            let seen = running.engine.take().batches;
            all.extend(seen.iter().filter_map(|batch| batch.as_profiles().cloned()));
            all.len() >= least
        })
        .await;
        all
    }

    fn health(&self, base: &str) -> Visited {
        let all = self.list.all();
        all.into_iter().find(|(known, _)| **known == *base).unwrap().1
    }
}

fn kinds(profiles: &Profiles) -> Vec<String> {
    let types = profiles.iter().flat_map(|at| &at.profile.sample_types);
    types.map(|of| profiles.dictionary().str(of.kind).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_profiles_of_a_target_have_one_identity() {
    let router = Router::new()
        .route("/heap", recording("go123-heap.pb.gz"))
        .route("/cpu", recording("node20-cpu.cpuprofile"))
        .route("/jfr", recording("ap-wall.jfr.gz"));
    let address = format!("127.0.0.1:{}", serve(router).await);
    let named = Capture {
        pyroscope_name: Some("mine"),
        takes: Duration::from_secs(1),
        ..capture("/cpu")
    };
    let running = Running::start(&[target(&address, "shop", &[capture("/heap"), named, capture("/jfr")])]);
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let all = running.profiles(6).await;
    for profiles in &all {
        let said = resource(profiles);
        assert_eq!(
            (said["service.name"].as_str(), &said["service.instance.id"]),
            ("shop", &address)
        );
    }
    assert_eq!(
        kinds(&all[0]),
        ["inuse_objects", "inuse_space"],
        "the first scrape passes on no counters"
    );
    assert_eq!(kinds(&all[3]).len(), 4, "{:?}", kinds(&all[3]));
    assert_eq!(profile_attributes(&all[1])["pyroscope.name"], "mine");
    let undated = all[1].iter().next().unwrap().profile.time_unix_nano;
    assert!(undated + 60_000_000_000 > began, "V8 does not know the time");
    let visited = running.health(&format!("http://{address}"));
    assert_eq!((visited.health, visited.why.as_str()), (Health::Up, ""));
    running
        .until("the count of what was handed over", |running| {
            running.metrics.scraped_count("ok") >= 6
        })
        .await;
    assert!(running.metrics.counters_bytes() > 0);
    let Running {
        stop, task, metrics, ..
    } = running;
    stop.ask();
    task.await.unwrap();
    assert_eq!(metrics.counters_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_name_and_tells_no_text_of_the_answer() {
    let bomb = compress(&vec![b'a'; 8 << 20], Compression::Gzip(9));
    let redirect = || async {
        (
            http::StatusCode::FOUND,
            [(LOCATION, "/heap?planted-token")],
            "planted-token",
        )
    };
    let router = Router::new()
        .route("/heap", recording("go123-heap.pb.gz"))
        .route(
            "/forbidden",
            get(|| async { (http::StatusCode::FORBIDDEN, "planted-token") }),
        )
        .route("/redirect", get(redirect))
        .route("/page", get(|| async { "<html>planted-token</html>" }))
        .route("/large", get(|| async { vec![0_u8; (1 << 20) + 1] }))
        .route("/bomb", get(move || async move { bomb }))
        .route(
            "/encoded",
            get(|| async { ([(CONTENT_ENCODING, "br")], "planted-token") }),
        )
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/trickle",
            get(|| async {
                let bytes = futures_util::stream::iter([Ok::<_, std::io::Error>("x")]);
                Body::from_stream(bytes.chain(futures_util::stream::pending()))
            }),
        )
        .route(
            "/broken",
            get(|| async {
                let parts = [Ok("x"), Err(std::io::Error::other("planted-token"))];
                Body::from_stream(futures_util::stream::iter(parts))
            }),
        );
    let port = serve(router).await;
    let here = format!("127.0.0.1:{port}");
    for (address, path, label, word) in [
        (here.as_str(), "/missing", "status", "404"),
        (&here, "/forbidden", "status", "403"),
        (&here, "/redirect", "status", "redirects are not followed"),
        (&here, "/page", "invalid", "HTML"),
        (&here, "/large", "too_large", "larger than 1048576 bytes"),
        (&here, "/bomb", "too_large", ""),
        (&here, "/encoded", "invalid", "encoding"),
        (&here, "/never", "timeout", "no whole answer"),
        (&here, "/trickle", "timeout", "no whole answer"),
        (&here, "/broken", "broken", "complete"),
        ("127.0.0.1:1", "/heap", "unreachable", "refused"),
        ("169.254.169.254:80", "/heap", "out_of_reach", "allowed_networks"),
        ("[fd00:ec2::254]:80", "/heap", "out_of_reach", "allowed_networks"),
        ("no-such-name.invalid:80", "/heap", "unreachable", "connect"),
    ] {
        let once = Capture {
            timeout: Duration::from_millis(if label == "timeout" { 300 } else { 5_000 }),
            ..capture(path)
        };
        let running = Running::start_as(
            &[target(address, "shop", &[once])],
            Duration::from_secs(60),
            1.0,
            Engine::new(),
        );
        running
            .until(path, |running| running.metrics.scraped_count(label) > 0)
            .await;
        let base = format!("http://{address}");
        running
            .until(path, |running| running.health(&base).health == Health::Down)
            .await;
        let why = running.health(&base).why;
        assert!(why.contains(word) && !why.contains("planted-token"), "{path}: {why}");
        assert!(running.engine.take().batches.is_empty(), "{path}");
        running.stop.ask();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_profile_that_fails_does_not_keep_the_others_away() {
    let router = Router::new().route("/heap", recording("go123-heap.pb.gz"));
    let address = format!("127.0.0.1:{}", serve(router).await);
    let running = Running::start(&[target(&address, "shop", &[capture("/missing"), capture("/heap")])]);
    running.profiles(2).await;
    let base = format!("http://{address}");
    running
        .until("a visit", |running| running.health(&base).health == Health::Up)
        .await;
    assert!(running.health(&base).why.starts_with("missing: it answered 404"));
    running.stop.ask();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_cuts_what_is_under_way() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let router = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>()
    });
    let address = format!("127.0.0.1:{}", serve(router).await);
    let slow = Capture {
        timeout: Duration::from_secs(10_000),
        ..capture("/slow")
    };
    let running = Running::start(&[target(&address, "shop", &[slow])]);
    running.until("a visit", |_| asked.load(Ordering::SeqCst) > 0).await;
    running
        .until("a missed turn", |running| running.metrics.scraped_count("missed") > 2)
        .await;
    let begin = std::time::Instant::now();
    running.stop.ask();
    running.task.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1_000));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nobody is visited twice at once");
}

/// Answers after a while, and knows how many it answers at once.
#[derive(Clone, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Crowd {
    async fn answer(self, _: Request) -> Response {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(30)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.all.fetch_add(1, Ordering::SeqCst);
        crate::testing::data("go123-heap.pb.gz").into_response()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_never_measured_all_together() {
    let crowd = Crowd::default();
    let answering = crowd.clone();
    let port = serve(Router::new().fallback(move |request| answering.clone().answer(request))).await;
    let fleet: Vec<_> = (1..=12)
        .map(|host| target(&format!("127.0.0.{host}:{port}"), "shop", &[capture("/heap")]))
        .collect();
    let running = Running::start_as(&fleet, Duration::from_millis(300), 0.25, Engine::new());
    running
        .until("visits", |_| crowd.all.load(Ordering::SeqCst) >= 36)
        .await;
    running.stop.ask();
    assert_eq!(
        crowd.most.load(Ordering::SeqCst),
        3,
        "a quarter of twelve, and no fewer either"
    );
    assert!(
        running
            .list
            .all()
            .iter()
            .all(|(_, visited)| visited.health == Health::Up)
    );
}

/// A request that is not answered, for as long as somebody waits for it.
struct BeingAsked(Arc<AtomicUsize>);

impl BeingAsked {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for BeingAsked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_and_go_without_disturbing_the_others() {
    let asked = Arc::new(AtomicUsize::new(0));
    let being_asked = asked.clone();
    let never = move || {
        let asked = BeingAsked::begin(&being_asked);
        async move {
            std::future::pending::<()>().await;
            drop(asked);
        }
    };
    let router = Router::new()
        .route("/heap", recording("go123-heap.pb.gz"))
        .route("/never", get(never));
    let port = serve(router).await;
    let is_being_asked = || asked.load(Ordering::SeqCst) > 0;
    let address = |host: u8| format!("127.0.0.{host}:{port}");
    let slow = Capture {
        timeout: Duration::from_secs(100),
        ..capture("/never")
    };
    let stays = target(&address(1), "shop", &[capture("/heap")]);
    let goes = target(&address(2), "cart", &[slow]);
    let running = Running::start(&[stays.clone(), goes]);
    let subtracted = |profiles: &Profiles| kinds(profiles).len() == 4;
    running
        .until("counters", |running| {
            let seen = running.engine.take().batches;
            seen.iter().filter_map(|batch| batch.as_profiles()).any(subtracted)
        })
        .await;
    running.until("the slow one", |_| is_being_asked()).await;
    let relabelled = target(&address(1), "shop", &[capture("/heap")]);
    let comes = target(&address(3), "new", &[capture("/heap")]);
    drop(running.engine.take());
    running.tell.send_replace(Found {
        targets: vec![relabelled, comes],
        left_out: 3,
    });
    let instances =
        |running: &Running| -> Vec<String> { running.list.all().iter().map(|(base, _)| base.to_string()).collect() };
    let expected = [1, 3].map(|host| format!("http://{}", address(host)));
    running
        .until("the new targets", |running| instances(running) == expected)
        .await;
    running.until("the end of the slow visit", |_| !is_being_asked()).await;
    let mut new = 0;
    let first_of_new = |profiles: &Profiles| resource(profiles)["service.name"] == "new" && kinds(profiles).len() == 2;
    running
        .until("a profile of each", |running| {
            for batch in running.engine.take().batches {
                let profiles = batch.as_profiles().unwrap();
                new += usize::from(first_of_new(profiles));
                assert!(
                    first_of_new(profiles) || subtracted(profiles),
                    "who stays is remembered"
                );
            }
            new > 0
        })
        .await;
    assert_eq!(new, 1);
    running.stop.ask();
}

/// An engine whose door is shut.
struct Shut(Arc<Engine>);

#[async_trait::async_trait]
impl Intake for Shut {
    fn receiver(&self) -> &Arc<str> {
        self.0.receiver()
    }
    fn budget(&self) -> &Budget {
        self.0.budget()
    }
    fn admit(&self) -> Result<(), Refusal> {
        Err(Refusal::no_room("memory is short"))
    }
    async fn receive(&self, job: Job, followed: Option<Followed>) -> Result<Receipt, Refusal> {
        self.0.receive(job, followed).await
    }
    fn refused(&self, refusal: &Refusal) {
        self.0.refused(refusal);
    }
    fn ready(&self) {}
    fn is_ready(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_measured_that_nobody_has_room_for() {
    let crowd = Crowd::default();
    let answering = crowd.clone();
    let port = serve(Router::new().fallback(move |request| answering.clone().answer(request))).await;
    let (engine, address) = (Engine::new(), format!("127.0.0.1:{port}"));
    let outlet = Outlet::new(Arc::new(Shut(engine.clone())));
    let targets = [target(&address, "shop", &[capture("/heap"), capture("/other")])];
    let running = Running::start_into(&targets, SOON, 1.0, engine, outlet);
    running
        .until("skipped scrapes", |running| running.metrics.scraped_count("full") > 2)
        .await;
    assert_eq!(crowd.all.load(Ordering::SeqCst), 0);
    assert_eq!(
        running.health(&format!("http://{address}")).health,
        Health::New,
        "no fault of the target"
    );
    running.stop.ask();
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_the_pipeline_did_not_take_are_not_forgotten() {
    let router = Router::new().route("/heap", recording("go123-heap.pb.gz"));
    let address = format!("127.0.0.1:{}", serve(router).await);
    let engine = Engine::answering(Some(Refusal::no_room("all queues are full")));
    let running = Running::start_as(&[target(&address, "shop", &[capture("/heap")])], SOON, 1.0, engine);
    running
        .until("refused profiles", |running| running.metrics.scraped_count("full") > 2)
        .await;
    assert_eq!(
        running.metrics.counters_bytes(),
        0,
        "the next difference is that of all intervals since"
    );
    running.stop.ask();
}
