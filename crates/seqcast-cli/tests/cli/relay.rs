//! `seqcast relay` runs another program with the arguments that follow.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn relay_runs_the_program_beside_it_with_all_arguments_and_its_exit_code() {
    let folder = std::env::temp_dir().join(format!("seqcast-cli-relay-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (own, other) = (folder.join("seqcast"), folder.join("seqcast-relay"));
    fs::copy(env!("CARGO_BIN_EXE_seqcast"), &own).unwrap();
    let run = |arguments: &[&str]| Command::new(&own).arg("relay").args(arguments).env("PATH", "").output().unwrap();

    let missing = run(&["shop"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(2) && said.contains("cargo install seqcast-relay"), "{said}");

    fs::write(&other, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 4\n").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [&["shop", "--source", "a b", "--standby"][..], &["status", "shop"], &["--help"], &["-V"]] {
        let ran = run(arguments);
        let expected: String = arguments.iter().map(|argument| format!("<{argument}>")).collect();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
        assert_eq!(ran.status.code(), Some(4));
    }
    fs::remove_dir_all(&folder).unwrap();
}
