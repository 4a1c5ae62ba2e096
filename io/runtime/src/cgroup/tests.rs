#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

#[test]
fn groups_are_found_where_the_kernel_says() {
    let groups = "4:memory:/docker/abc/web\n1:cpu,cpuacct:/\n0::/user.slice/x\n";
    assert_eq!(
        v1_bases(MOUNTS, groups),
        [
            ("memory".to_owned(), PathBuf::from("/sys/fs/cgroup/memory/web")),
            ("cpu".to_owned(), PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/")),
        ]
    );
    assert_eq!(
        v2_base(MOUNTS, groups),
        Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/x"))
    );
    assert_eq!(v2_base("", groups), None);
    assert_eq!(v2_base(MOUNTS, ""), None);
}

/// A folder with the files that version 2 shows.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("cgroup.controllers", "cpuset cpu io memory pids\n"),
        ("cgroup.subtree_control", ""),
        ("cgroup.procs", "17\n"),
    ] {
        fs::write(dir.path().join(file), text).unwrap();
    }
    dir
}

#[test]
fn version_two_is_divided_beneath_the_control_process() {
    let dir = tree();
    let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
    let hierarchy = prepare_v2(dir.path().to_owned()).unwrap();
    assert_eq!(hierarchy.version(), "cgroup v2");
    assert_eq!(
        read("trimtab-serve/cgroup.procs"),
        "17",
        "a group that is divided has no processes"
    );
    assert_eq!(
        read("cgroup.subtree_control"),
        "+pids",
        "each was enabled by a write of its own"
    );
    // A shim starts in the control process's group and finds the same base.
    fs::write(dir.path().join("cgroup.subtree_control"), "cpu memory pids").unwrap();
    assert_eq!(prepare_v2(dir.path().join("trimtab-serve")).unwrap(), hierarchy);

    let limits = Limits {
        memory: Some(64_000_000),
        cpu_millis: Some(1500),
        processes: Some(9),
    };
    let (mut group, missing) = Group::make(&hierarchy, "trimtab-a", &limits);
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(read("trimtab-a/memory.max"), "64000000");
    assert_eq!(read("trimtab-a/memory.oom.group"), "1");
    assert_eq!(read("trimtab-a/cpu.max"), "150000 100000");
    assert_eq!(read("trimtab-a/pids.max"), "9");
    group.take_in(18).unwrap();
    assert_eq!(read("trimtab-a/cgroup.procs"), "18");
    let events = dir.path().join("trimtab-a/memory.events");
    fs::write(&events, "low 0\noom 1\noom_kill 0\n").unwrap();
    assert!(!group.ran_out_of_memory());
    fs::write(&events, "low 0\noom 1\noom_kill 1\noom_group_kill 1\n").unwrap();
    assert!(group.ran_out_of_memory());
    assert!(!group.ran_out_of_memory(), "told once");
}

#[test]
fn a_limit_without_its_controller_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let hierarchy = Hierarchy::V1 {
        bases: vec![("pids".to_owned(), dir.path().to_owned())],
    };
    let limits = Limits {
        memory: Some(64_000_000),
        cpu_millis: None,
        processes: Some(9),
    };
    let (_group, missing) = Group::make(&hierarchy, "trimtab-a", &limits);
    assert_eq!(missing, ["memory (no such controller here)"]);
    fs::write(dir.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
    assert!(
        prepare_v2(dir.path().to_owned())
            .unwrap_err()
            .contains("offers none of memory, cpu, pids")
    );
}
