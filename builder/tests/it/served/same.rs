//! A step sees the same of a served tree as of directories, and leaves the same.

use super::lab::{full, the_same};

#[test]
fn names_kinds_owners_times_and_links() {
    let lab = full();
    // A directory's size is its file system's own affair.
    let seen = the_same(
        &lab,
        None,
        "find / -xdev -regex '/[bdho].*' ! -path '/dev*' -type d -printf '%p %m %U %G %n %Ts\\n' | sort
         find / -xdev ! -type d ! -path '/etc/*o*' -printf '%p %y %m %U %G %n %s %b %l %Ts\\n' | sort
         stat -c '%n %t %T' /data/null /data/disk
         find / -xdev | wc -l; find / -xdev -samefile /data/a | sort; ls -laR /many | md5sum",
    );
    assert!(seen.out.contains("/data/b2 f") && !seen.out.contains("/many/file-7 "), "{}", seen.out);
    // The root that every layer has, and nothing else.
    assert_eq!(seen.layer.len(), 1, "{:?}", seen.layer);
}

#[test]
fn contents_and_attributes() {
    let lab = full();
    let seen = the_same(
        &lab,
        None,
        "find / -xdev -type f -print0 | sort -z | xargs -0 md5sum
         plain /data/big; plain /bin/busybox
         tar -C / --one-file-system --sort=name --numeric-owner --xattrs --xattrs-include='*' --acls --exclude=./etc \
             --exclude=./usr --exclude=./proc --exclude=./dev --exclude=./sys -c bin data many opaque | tar -tv --xattrs --acls | md5sum
         tail -c 5 /data/big | md5sum; dd if=/data/big bs=1 skip=2999999 count=100 2>/dev/null | md5sum; cat /data/none",
    );
    assert!(seen.out.contains("odd"), "{}", seen.out);
}

#[test]
fn copies_are_the_same() {
    let lab = full();
    let seen = the_same(
        &lab,
        None,
        "cp -a /data /copy; cp -ax /many /copy-many; du --inodes -s /data /many /copy
         find /copy /copy-many ! -type d -printf '%p %y %m %U %G %n %s %l\\n' | sort | md5sum
         tar -C / --one-file-system -c data opaque | tar -C /opt -x",
    );
    assert!(seen.layer.iter().any(|entry| entry.contains("copy/sub/c")), "{:?}", seen.layer);
}

#[test]
fn changes_are_the_same() {
    let lab = full();
    let seen = the_same(
        &lab,
        None,
        "echo more >> /data/a; truncate -s 100 /data/big; chmod 711 /data/private; chown 3333 /data/sub/c
         ln /data/bob /data/bob-too; mv /data/sub /data/moved; rm -r /many; mkdir /many; echo x > /many/x; rm /data/null
         setfattr -n user.mine -v 1 /data/empty-file 2>/dev/null || true; touch -d @5 /data/dangling-no; mv /data/link /data/link3
         ln /data/a /data/d; cat /data/b2; rmdir /data/own; cp --reflink=auto /bin/plain /bin/plain2; strings /none",
    );
    assert!(seen.layer.iter().any(|entry| entry.contains("data/moved")), "{:?}", seen.layer);
    assert!(seen.out.starts_with("one file\n"), "{}", seen.out);
}

#[test]
fn permissions_setuid_and_capabilities() {
    let lab = full();
    let look = "plain; setuid; capable; cat /data/bob /data/private /data/listed; ls /data/own; ls /data/sub
                echo x > /data/a; echo x > /data/new; test -x /bin/plain; test -w /data/bob && echo mine";
    let root = the_same(&lab, None, look);
    let bob = the_same(&lab, Some("bob"), look);
    assert!(root.out.contains("of root\n") && !bob.out.contains("of root\n"), "{}", bob.out);
    assert!(bob.out.contains("listed\n") && bob.out.contains("euid 0") && bob.out.contains("euid 3333"), "{}", bob.out);
    assert!(bob.out.contains("CapPrm:\t0000000000002000"), "{}", bob.out);
}

#[test]
fn locks_and_renames() {
    let lab = full();
    the_same(
        &lab,
        None,
        "flock -n /data/a sh -c 'flock -n /data/a true || echo locked'
         exec 3< /data/big; rm /data/big; wc -c <&3; mv /opaque /elsewhere; mv /data/bob /data/bob2; cat /data/bob2
         cd /data; ls -d \"$PWD\"; test /data/a -ef /data/sub/c && echo one; test /data/a -ef /data/bob2 || echo two",
    );
}

/// Files have numbers that a double can hold, whatever else is in the tree.
#[test]
fn every_file_has_a_small_number_of_its_own() {
    let lab = full();
    let (spec, tree, _) = super::lab::served(&lab, "find / -xdev -type f ! -name '*link*' -exec stat -c '%i %h' {} +");
    let out = super::lab::run(&spec, &[tree], &shiplap_builder::sandbox::Cancel::new().unwrap(), |_| ()).ok();
    let mut numbers: Vec<u64> =
        out.lines().filter_map(|line| line.strip_suffix(" 1")).map(|number| number.parse().unwrap()).collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(count > 2000 && numbers.len() == count && numbers[count - 1] < 1 << 53, "{count} {numbers:?}");
}
