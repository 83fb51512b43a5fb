//! What `--config` names: a file, or as the Collector has it `file:PATH`, `env:NAME` (a variable that holds a configuration) and
//! `yaml:TEXT` (such as `yaml:exporters::debug::verbosity: basic`).

use std::io::Read;

use super::error::ConfigError;
use super::interpolate::Environment;
use super::tree::Place;
use crate::pipeline::units::io_reason;

/// Largest configuration file.
const FILE_BYTES: u64 = 4 << 20;

/// The name by which errors call it, and the YAML.
pub(super) fn read(name: &str, env: Environment<'_>) -> Result<(String, String), ConfigError> {
    let Some((scheme, rest)) = name.split_once(':') else {
        return file(name);
    };
    // what stands behind a scheme may be a secret: errors name the scheme alone
    let fail = |message: &str| ConfigError::new(Place::whole(&format!("--config {scheme}:")), "", message);
    match scheme {
        "file" => file(rest),
        "yaml" => Ok(("--config yaml:".to_owned(), rest.to_owned())),
        "env" => match env(rest) {
            Some(text) => Ok((name.to_owned(), text)),
            None => Err(fail("expected the name of an environment variable that is set")),
        },
        "http" | "https" => Err(fail(
            "a configuration is not fetched over the network: whoever answers would decide what leaves; fetch it, look at it, \
             and name the file",
        )),
        _ if is_scheme(scheme) && !std::path::Path::new(name).exists() => Err(fail(
            "not a kind of configuration; allowed: FILE, file:FILE, env:NAME, yaml:TEXT",
        )),
        _ => file(name),
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn file(path: &str) -> Result<(String, String), ConfigError> {
    let fail = |message: String| ConfigError::new(Place::whole(path), "", message);
    let mut text = String::new();
    match std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_string(&mut text)) {
        Ok(bytes) if bytes as u64 > FILE_BYTES => Err(fail(format!("larger than {FILE_BYTES} bytes"))),
        Ok(_) => Ok((path.to_owned(), text)),
        Err(error) => Err(fail(format!("cannot be read: {}", io_reason(&error)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Result<(String, String), String> {
        let env = |name: &str| (name == "SET").then(|| "a: 1".to_owned());
        read(name, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn a_configuration_is_a_file_or_what_the_collector_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a:b.yaml").display().to_string();
        std::fs::write(&path, "b: 2").unwrap();
        let found = Ok((path.clone(), "b: 2".to_owned()));
        assert_eq!(source(&path), found);
        assert_eq!(source(&format!("file:{path}")), found);
        assert_eq!(source("env:SET"), Ok(("env:SET".to_owned(), "a: 1".to_owned())));
        let inline = Ok(("--config yaml:".to_owned(), "a::b: \"c:d\"".to_owned()));
        assert_eq!(source("yaml:a::b: \"c:d\""), inline);
    }

    #[test]
    fn what_cannot_be_one_is_told_without_what_may_be_a_secret() {
        for (name, told) in [
            (
                "https://u:planted@h/x.yaml",
                "--config https:: a configuration is not fetched",
            ),
            ("http://h/planted", "--config http:: a configuration is not fetched"),
            (
                "s3://planted/x.yaml",
                "--config s3:: not a kind of configuration; allowed: FILE",
            ),
            (
                "env:planted",
                "--config env:: expected the name of an environment variable that is set",
            ),
        ] {
            let error = source(name).unwrap_err();
            assert!(error.starts_with(told) && !error.contains("planted"), "{error}");
        }
        assert_eq!(
            source("no/such"),
            Err("no/such: cannot be read: no such file or directory".to_owned())
        );
    }
}
