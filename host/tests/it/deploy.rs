//! The examples of deployments: whole, and with no option in them that does not exist. Nothing here runs them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hostler::store::Connect;
use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

fn documents(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy").join(name);
    let text = std::fs::read_to_string(&path).expect("an example");
    Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML")).collect()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_sequence().expect("a list").iter().map(|word| word.as_str().expect("a word")).collect()
}

fn names(of: &Value) -> Vec<&str> {
    of.as_mapping().expect("a mapping").keys().map(|name| name.as_str().expect("a name")).collect()
}

/// How `hostler` is run: by a command and options that it has. Returns the grace.
fn check(args: &[&str]) -> Duration {
    let help =
        Command::new(env!("CARGO_BIN_EXE_hostler")).args([args[0], "--help"]).output().expect("it runs");
    assert!(help.status.success(), "there is no command {}", args[0]);
    let help = String::from_utf8(help.stdout).expect("text");
    for option in args.iter().filter(|arg| arg.starts_with("--")) {
        assert!(help.contains(&format!("{option} <")), "there is no {option}");
    }
    let value = |option| args.iter().position(|arg| *arg == option).map(|at| args[at + 1]).expect(option);
    humantime::parse_duration(value("--grace")).expect("a duration")
}

#[test]
fn the_example_with_compose_is_whole() {
    let [compose] = &documents("compose.yaml")[..] else { panic!("one document") };
    let services = &compose["services"];
    let host = &services["host"];
    let grace = check(&words(&host["command"]));
    let stop = host["stop_grace_period"].as_str().expect("a duration");
    assert!(humantime::parse_duration(stop).expect("a duration") > grace);
    let url = host["environment"]["DATABASE_URL"].as_str().expect("a URL");
    let place = Connect::parse(url).expect("a URL").place();
    for server in ["primary", "standby"] {
        assert!(names(services).contains(&server) && place.contains(server), "{place}");
    }
    for service in names(services) {
        let service = &services[service];
        for needed in service.get("depends_on").map(names).unwrap_or_default() {
            let ends = service["depends_on"][needed]["condition"] == "service_completed_successfully";
            assert!(ends || services[needed].get("healthcheck").is_some(), "{needed} says when it is ready");
        }
        let volumes = service.get("volumes").map(words).unwrap_or_default();
        for volume in volumes.iter().filter_map(|volume| volume.split(':').next()) {
            assert!(volume.starts_with("./") || names(&compose["volumes"]).contains(&volume), "{volume}");
        }
    }
}

#[test]
fn nothing_waits_for_a_standby_before_there_is_one() {
    let [compose] = &documents("compose.yaml")[..] else { panic!("one document") };
    let services = &compose["services"];
    // The image makes its database with a server that is given these words too.
    let primary = words(&services["primary"]["command"]).join(" ");
    assert!(!primary.contains("synchronous_standby_names"), "{primary}");
    let sets = |name: &&str| {
        let command = services[*name].get("command").map(words).unwrap_or_default();
        command.iter().any(|word| word.starts_with("alter system set synchronous_standby_names = 'standby'"))
    };
    let setter = names(services).into_iter().find(sets).expect("somebody sets it");
    assert_eq!(services[setter]["depends_on"]["standby"]["condition"], "service_healthy");
    // What hosts accept is on both servers.
    assert_eq!(services["host"]["depends_on"][setter]["condition"], "service_completed_successfully");
}

#[test]
fn the_example_for_kubernetes_is_whole() {
    let documents = documents("kubernetes.yaml");
    for document in &documents {
        for path in ["apiVersion", "kind"] {
            assert!(document[path].is_string(), "{document:?}");
        }
        assert!(document["metadata"]["name"].is_string(), "{document:?}");
    }
    let deployment = documents.iter().find(|document| document["kind"] == "Deployment").expect("hosts");
    let template = &deployment["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    let pod = &template["spec"];
    let budget =
        documents.iter().find(|document| document["kind"] == "PodDisruptionBudget").expect("a budget");
    for selects in [deployment, budget] {
        assert_eq!(&selects["spec"]["selector"]["matchLabels"], labels);
    }
    let container = &pod["containers"][0];
    let grace = check(&words(&container["args"]));
    assert!(pod["terminationGracePeriodSeconds"].as_u64().expect("seconds") > grace.as_secs());
    let mounted = |of: &Value| -> Vec<String> {
        of.as_sequence()
            .expect("a list")
            .iter()
            .filter_map(|v| Some(v["name"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(mounted(&container["volumeMounts"]), mounted(&pod["volumes"]));
}
