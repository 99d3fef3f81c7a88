//! What a build finds a plugin to use, along its imports; nothing of the plugin runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::root;

/// A directory with these files.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(file, text).expect("written");
    }
    dir
}

/// What is found, from the main file or module on; `None` where the language's program is missing.
fn found(program: &str, dir: &Path, main: &str) -> Option<Vec<String>> {
    let tools = root().join("host/src/cli/build/tools");
    let mut look = Command::new(program);
    if program == "node" {
        look.args(["--experimental-vm-modules", "--no-warnings"]).arg(tools.join("uses.mjs"));
        look.arg(dir.join(main));
    } else {
        let paths = std::env::join_paths([dir.to_owned(), dir.join("packages")]).expect("paths");
        look.args(["-I", "-B"]).arg(tools.join("uses.py")).arg(main).arg(paths);
    }
    let Ok(output) = look.args(["tasks", "keyvalue"]).output() else {
        assert!(std::env::var_os("HOSTLER_TEST_OBTAIN").is_none(), "{program} is missing");
        eprintln!("skipped: there is no {program}");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    let mut found: Vec<String> =
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect();
    found.sort();
    Some(found)
}

#[test]
fn what_a_plugin_in_javascript_uses_is_what_its_files_import() {
    let dir = project(&[
        (
            "main.js",
            "import \"./a/one.js\"; import { task } from 'hostler-guest'; throw new Error('it ran');",
        ),
        ("a/one.js", "export * from\n  \"../two\"; // import \"hostler-guest/keyvalue\""),
        (
            "two.js",
            "const text = 'import \"hostler-guest/keyvalue\"'; import { send } from \"hostler-guest/tasks\";",
        ),
        (
            "both.js",
            "import \"./two.js\"; import * as keyvalue from 'hostler-guest/keyvalue'; import \"./both.js\";",
        ),
        ("test/main.test.js", "import * as keyvalue from \"hostler-guest/keyvalue\";"),
        ("broken.js", "import * as tasks from \"hostler-guest/tasks\"; ]"),
    ]);
    for (main, uses) in [
        ("main.js", &["tasks"][..]),
        ("both.js", &["keyvalue", "tasks"]),
        ("broken.js", &[]),
        ("missing.js", &[]),
    ] {
        let Some(found) = found("node", dir.path(), main) else { return };
        assert_eq!(found, uses, "{main}");
    }
}

#[test]
fn what_a_plugin_in_python_uses_is_what_its_modules_import() {
    let dir = project(&[
        ("plain.py", "import json, a.b\nfrom hostler_guest import task, log\nraise RuntimeError('it ran')\n"),
        ("a/__init__.py", "from . import b\n'from hostler_guest import keyvalue'\n"),
        ("a/b.py", "# from hostler_guest import keyvalue\nfrom .. import nothing\nfrom .c import d\n"),
        ("a/c.py", "from hostler_guest import (\n    task,\n    tasks as others,\n)\n"),
        ("space/inner.py", "import hostler_guest.keyvalue\n"),
        ("of_space.py", "from space import inner\n"),
        ("shared.py", "import helper\n"),
        ("packages/helper/__init__.py", "from hostler_guest.tasks import send\nimport shared\n"),
        ("tests/test_plain.py", "from hostler_guest import keyvalue\n"),
        ("hostler_guest/__init__.py", "from . import keyvalue\n"),
        ("broken.py", "from hostler_guest import tasks\n]\n"),
    ]);
    for (module, uses) in [
        ("plain", &["tasks"][..]),
        ("a.c", &["tasks"]),
        ("of_space", &["keyvalue"]),
        ("shared", &["tasks"]),
        ("broken", &[]),
        ("missing", &[]),
    ] {
        let Some(found) = found("python3", dir.path(), module) else { return };
        assert_eq!(found, uses, "{module}");
    }
}
