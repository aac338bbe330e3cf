//! The two programs of the stand-in for AWS, built once: see `cache.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::{Build, has_go};
use crate::process::{Start, workspace};

const REQUIREMENTS: &str = include_str!("../../aws/requirements.txt");
const GO_MOD: &str = include_str!("../../aws/authenticator/go.mod");
const GO_SUM: &str = include_str!("../../aws/authenticator/go.sum");
const GO_FILES: [&str; 2] =
    [include_str!("../../aws/authenticator/main.go"), include_str!("../../aws/authenticator/servers.go")];

/// What a virtual environment depends on: the Python that it points to.
const WHICH: &str = "import sys; assert sys.version_info >= (3, 10); print(sys.version, sys.base_prefix)";

/// A Python that has what `requirements.txt` names.
pub(super) fn python() -> Result<PathBuf> {
    let which = Command::new("python3").args(["-c", WHICH]).output();
    let Some(which) = which.ok().filter(|which| which.status.success()) else {
        bail!("the testbed runs a stand-in for AWS and needs Python 3: install Python 3.10 or newer (python3)");
    };
    let which = String::from_utf8(which.stdout).context("Python does not say which it is")?;
    let content = [REQUIREMENTS, &which];
    let what = "a Python environment for the stand-in for AWS";
    let build = Build { what, name: "aws-python", content: &content, seconds: 30 };
    let folder = build.folder(|dir| {
        // Below its final folder's name it is only ever run by this path, which needs no script that knows the folder.
        let run = |name, program: &Path, args: &[&str]| {
            let mut step = Start::new(name, program, dir).args(args);
            // How packages are reached from here is the user's affair.
            step.inherit = true;
            build.run(step)
        };
        let place = dir.join("venv");
        let made = run("venv", Path::new("python3"), &["-m", "venv", &place.display().to_string()]);
        made.context("python3 -m venv does not work: install the package python3-venv, if your system has one")?;
        let requirements = workspace().join("tests/aws/requirements.txt").display().to_string();
        // All of it is pinned, what is below included.
        let install = ["-m", "pip", "install", "--no-deps", "--no-input", "--disable-pip-version-check", "-r"];
        run("pip", &place.join("bin/python"), &[&install[..], &[&requirements]].concat())
    })?;
    Ok(folder.join("venv/bin/python"))
}

/// The token webhook.
pub(super) fn authenticator() -> Result<PathBuf> {
    let content = [GO_MOD, GO_SUM, GO_FILES[0], GO_FILES[1]];
    let what = "aws-iam-authenticator's verifier";
    let build = Build { what, name: "aws-authenticator", content: &content, seconds: 60 };
    let folder = build.folder(|dir| {
        if !has_go() {
            bail!("the testbed builds {what} and needs Go: install Go 1.21 or newer");
        }
        build.go("aws/authenticator", "-s -w", dir, "authenticator")
    })?;
    Ok(folder.join("authenticator"))
}
