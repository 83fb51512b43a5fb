//! Names come back for whoever holds the private key, and for nobody else.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::telemetry::Metrics;

fn config(directory: &Path, recipient: &Recipient) -> Config {
    Config {
        directory: directory.to_owned(),
        recipient: recipient.to_string(),
        max_age: three_months(),
        max_bytes: a_gibibyte(),
    }
}

fn kept(directory: &Path, identity: &Identity, names: &[(&str, &str)]) {
    let escrow = Escrow::open(&config(directory, &identity.recipient()), &Arc::default()).unwrap();
    for (pseudonym, name) in names {
        escrow.keep(Role::FunctionName, pseudonym, name);
    }
    assert!(escrow.flush());
}

fn only_file(directory: &Path) -> PathBuf {
    let files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

const NAMES: [(&str, &str); 3] = [
    ("fn_k1_aaa", "billing.charge"),
    ("file_k1_bbb", "/srv/planted\tEXAMPLE\n.go"),
    ("fn_k1_ccc", "größe"),
];

#[test]
fn names_come_back_from_all_files_of_all_directories() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let identity = Identity::generate();
    kept(one.path(), &identity, &NAMES[..2]);
    kept(one.path(), &identity, &NAMES[..1]);
    kept(two.path(), &identity, &NAMES[1..]);
    let directories = [one.path().to_owned(), two.path().to_owned()];
    let keys = [Identity::generate(), identity];
    let names = reveal(&directories, &keys, |_| true).unwrap();
    assert_eq!(names.len(), 3);
    for (pseudonym, name) in NAMES {
        assert_eq!(names[pseudonym], name);
    }
    let some = reveal(&directories, &keys, |pseudonym| pseudonym == "fn_k1_ccc").unwrap();
    assert_eq!(some.len(), 1);
    assert_eq!(std::fs::read_dir(one.path()).unwrap().count(), 2);
}

#[test]
fn a_file_shows_nothing_of_the_names() {
    let folder = tempfile::tempdir().unwrap();
    kept(folder.path(), &Identity::generate(), &NAMES);
    let content = std::fs::read(only_file(folder.path())).unwrap();
    let text = String::from_utf8_lossy(&content);
    for (pseudonym, name) in NAMES {
        assert!(!text.contains(pseudonym) && !text.contains(name));
    }
}

#[test]
fn a_name_is_written_once_however_often_it_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    let escrow = Escrow::open(&config(folder.path(), &identity.recipient()), &Arc::default()).unwrap();
    for _ in 0..3 {
        escrow.keep(Role::FunctionName, "fn_k1_aaa", "billing.charge");
        assert!(escrow.flush());
    }
    let content = std::fs::read(only_file(folder.path())).unwrap();
    assert_eq!(seal::open(&content, &[identity]).unwrap().len(), 1);
}

#[test]
fn equal_configurations_share_one_escrow() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &Identity::generate().recipient());
    let metrics = Arc::default();
    let one = Escrow::open(&config, &metrics).unwrap();
    assert!(Arc::ptr_eq(&one, &Escrow::open(&config, &metrics).unwrap()));
    assert!(!Arc::ptr_eq(&one, &Escrow::open(&config, &Arc::default()).unwrap()));
}

#[test]
fn the_wrong_key_a_cut_file_and_every_flipped_byte_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    kept(folder.path(), &identity, &NAMES);
    let path = only_file(folder.path());
    let whole = std::fs::read(&path).unwrap();
    let directories = [folder.path().to_owned()];
    let fails = |identity: &Identity| {
        let error = reveal(&directories, std::slice::from_ref(identity), |_| true)
            .unwrap_err()
            .to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(!error.contains("billing"), "{error}");
        error
    };
    let error = fails(&Identity::generate());
    assert!(error.contains("sealed to another recipient"), "{error}");
    assert!(error.contains(&identity.recipient().fingerprint()), "{error}");
    for length in [0, 10, 30, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        fails(&identity);
    }
    assert!(fails(&identity).contains("cut or grown"));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        fails(&identity);
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(reveal(&directories, &[identity], |_| true).unwrap().len(), 3);
    assert!(reveal(&[folder.path().join("none")], &[], |_| true).is_err());
}

#[test]
fn whoever_redacts_never_waits_and_what_found_no_room_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    let config = config(&file.join("below"), &Identity::generate().recipient());
    std::fs::write(&file, "").unwrap();
    let metrics: Arc<Metrics> = Arc::default();
    let escrow = Escrow::open(&config, &metrics).unwrap();
    let name = "x".repeat(LONG);
    let began = Instant::now();
    for number in 0..4000 {
        escrow.keep(Role::FunctionName, &format!("fn_k1_{number}"), &name);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(!escrow.flush(), "the disk takes nothing");
    let text = metrics.text();
    assert!(
        text.contains("flamegate_escrow_names_total{result=\"deferred\"}"),
        "{text}"
    );
    std::fs::remove_file(&file).unwrap();
    assert!(escrow.flush());
    let files = std::fs::read_dir(file.join("below")).unwrap();
    let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(
        sizes.len() > 8 && sizes.iter().all(|size| *size < 2 << 20),
        "a file is read as a whole: {sizes:?}"
    );
    escrow.keep(Role::FunctionName, "fn_k1_3999", &name);
    assert!(escrow.flush());
}

const LONG: usize = 32 << 10;

#[test]
fn what_cannot_be_an_escrow_is_told_when_it_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    let build = |directory: &Path, recipient: &str| {
        let config = Config {
            recipient: recipient.to_owned(),
            ..config(directory, &identity.recipient())
        };
        Escrow::open(&config, &Arc::default()).err()
    };
    assert_eq!(build(folder.path(), "x").unwrap().path, "escrow.recipient");
    let private = build(folder.path(), &identity.expose()).unwrap();
    assert!(private.message.contains("private") && !private.message.contains(&identity.expose()));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        build(&file, &identity.recipient().to_string()).unwrap().path,
        "escrow.directory"
    );
}
