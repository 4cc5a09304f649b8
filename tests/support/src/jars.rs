//! Kafka's jars, from Maven's registry, in a cache outside of the source tree.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fmt::Write as _};

/// A jar by its group, name and version.
pub(crate) type Artifact = (&'static str, &'static str, &'static str);

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// The directory with the jars of a version, downloaded at the first use.
///
/// A lock beside it makes a second process wait for the first one's download instead of repeating it; the
/// directory appears whole or not at all.
///
/// # Panics
/// Where it is not there and cannot be had, with what to install.
pub(crate) fn directory(version: &str, artifacts: &[Artifact]) -> PathBuf {
    let cache = cache();
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
    let jars = cache.join(format!("kafka-{version}"));
    let lock = File::create(cache.join(format!("kafka-{version}.lock"))).expect("the lock's file");
    lock.lock().expect("the lock of the cache");
    if !jars.is_dir() {
        let part = cache.join(format!("kafka-{version}.part"));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part).expect("a directory in the cache");
        download(&part, artifacts);
        fs::rename(&part, &jars).expect("the jars take their place");
    }
    jars.join("libs")
}

fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LETHE_KAFKA_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("lethe")))
        .or_else(|| set("HOME").map(|path| path.join(".cache/lethe")))
        .expect("one of LETHE_KAFKA_CACHE, XDG_CACHE_HOME and HOME is set")
}

fn download(part: &Path, artifacts: &[Artifact]) {
    let pom = part.join("pom.xml");
    let mut file = File::create(&pom).expect("pom.xml");
    file.write_all(project(artifacts).as_bytes()).expect("pom.xml");
    let output = Command::new("mvn")
        .args(["-q", "-B", COPY, "-DincludeScope=runtime"])
        .arg("-f")
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", part.join("libs").display()))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("mvn cannot be started ({error}): apt-get install maven openjdk-17-jre-headless")
        });
    assert!(
        output.status.success(),
        "mvn cannot download Kafka's jars:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn project(artifacts: &[Artifact]) -> String {
    let mut dependencies = String::new();
    for (group, name, version) in artifacts {
        let _ = write!(
            dependencies,
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version></dependency>"
        );
    }
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>lethe.test</groupId><artifactId>kafka</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )
}
