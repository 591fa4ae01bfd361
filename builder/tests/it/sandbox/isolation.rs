//! What a step sees of the machine.

use shiplap_builder::sandbox::{Network, Ulimit};

use super::lab::{Lab, run};

#[test]
fn proc_and_sys_are_masked_and_protected() {
    let lab = Lab::new();
    let out = lab
        .sh("
            wc -c < /proc/keys; wc -c < /proc/timer_list; wc -c < /proc/interrupts
            ls /sys/firmware /proc/acpi | grep -v : | wc -w
            for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/kcore /sys/kernel/x; do
                (echo 1 > $path) 2>/dev/null && echo wrote $path
            done
            mount -t tmpfs none /tmp 2>/dev/null && echo mounted
            ls /proc | grep -E '^[0-9]+$' | head -1
            true")
        .ok();
    // /proc/kcore is /dev/null, which takes everything where the kernel has one at all.
    assert_eq!(out.replace("wrote /proc/kcore\n", ""), "0\n0\n0\n0\n1\n");
}

#[test]
fn pid_1_is_closed_to_the_step() {
    let lab = Lab::new();
    let out = lab.sh("for f in exe environ fd/0 root cwd mem; do cat /proc/1/$f >/dev/null 2>&1 && echo open $f; done; echo done").ok();
    assert_eq!(out, "done\n");
}

#[test]
fn dev_is_dockers() {
    let lab = Lab::new();
    let out = lab
        .sh("
            ls /dev | tr '\\n' ' '
            head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x > /dev/null
            (echo x > /dev/full) 2>/dev/null || echo full
            readlink /dev/ptmx; stat -c %a /dev/shm /dev/mqueue; touch /dev/shm/x; ls /dev/pts
            echo out > /dev/stdout; echo err > /dev/stderr")
        .ok();
    // Where the kernel has /proc/kcore there is a link to it, as in Docker.
    assert_eq!(
        out.trim_start_matches("core "),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 3\n3\nfull\npts/ptmx\n1777\n1777\nptmx\nout\n"
    );
}

/// Docker's device control group in another form: nodes can be made, but not opened.
#[test]
fn device_nodes_of_a_step_are_dead() {
    let lab = Lab::new();
    let ran = lab.sh("
        mknod /disk c 1 5; mknod /dev/disk c 1 5
        for node in /disk /dev/disk; do head -c 1 $node 2>/dev/null && echo open; done; echo done");
    assert_eq!(ran.changed(), ["disk"]);
    assert_eq!(ran.ok(), "done\n");
}

#[test]
fn names_of_hosts() {
    let lab = Lab::new();
    let mut spec = lab
        .spec("hostname; cat /etc/hosts; cat /etc/resolv.conf; (echo x >> /etc/hosts) 2>/dev/null || echo read-only");
    spec.extra_hosts = vec![("db".into(), "10.0.0.9".into())];
    let ran = run(&spec).unwrap();
    assert_eq!(ran.changed(), Vec::<String>::new());
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    assert_eq!(
        ran.ok(),
        format!(
            "buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.9\tdb\n{resolvers}read-only\n"
        )
    );
}

#[test]
fn no_network_is_loopback_alone() {
    let lab = Lab::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "ls /sys/class/net; nc -w 2 127.0.0.1 {port} 2>&1 | grep -c refused; ip addr show lo | grep -c 127.0.0.1/8"
    );
    let mut spec = lab.spec(&script);
    spec.network = Network::None;
    assert_eq!(run(&spec).unwrap().ok(), "lo\n1\n1\n");
    // The same port is reached with the host's network.
    let spec = lab.spec(&format!("nc 127.0.0.1 {port}"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"hello").unwrap();
    });
    assert_eq!(run(&spec).unwrap().ok(), "hello");
    server.join().unwrap();
}

#[test]
fn limits_and_the_size_of_shared_memory() {
    let lab = Lab::new();
    let mut spec = lab.spec("ulimit -Sn; ulimit -Hn; grep ' /dev/shm ' /proc/mounts | grep -o size=1024k; dd if=/dev/zero of=/dev/shm/x bs=1k count=1100 2>/dev/null || echo full");
    spec.ulimits = vec![Ulimit { name: "nofile".into(), soft: Some(100), hard: Some(200) }];
    spec.shm_size = Some(1 << 20);
    assert_eq!(run(&spec).unwrap().ok(), "100\n200\nsize=1024k\nfull\n");
    spec = lab.spec("true");
    spec.ulimits = vec![Ulimit { name: "nonsense".into(), soft: None, hard: None }];
    assert!(run(&spec).err().unwrap().to_string().contains("\"nonsense\""));
}

/// A file that the caller left open, on purpose or not, is not the step's.
#[test]
fn nothing_open_is_inherited() {
    let lab = Lab::new();
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(lab.sh("ls /proc/self/fd").ok(), "0\n1\n2\n3\n", "3 is what ls reads");
    drop(leak);
}
