//! Random programs for `RUN`: the helper, a shell, Python. Each writes down all that it saw.

use crate::paths::{self, encoded, quoted};
use crate::tree::{Kind, Tree, mode, owner, text};

/// A program, operation by operation, so that a failure can be made smaller.
#[derive(Debug, Clone)]
pub struct Program {
    pub language: Language,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Helper,
    Shell,
    Python,
}

/// Folders, and the way from there to a program. The last ones lead through what random steps change.
const RELATIVE_INTERPRETERS: [(&str, &str); 6] = [
    ("/opt", "inner"),
    ("/opt", "./interpreter"),
    ("/t", "../opt/inner"),
    ("/", "opt/to-script"),
    ("/t/a", "../../opt/inner"),
    ("/t/a/b", "../../../opt/program"),
];

/// What a shell script begins with: nothing is ever done to more than the part of the tree that is for random steps.
const PRELUDE: &str =
    "mine() { case \"$(readlink -f \"$1\")\" in /t/?*|/opt/?*|/w/?*) true;; *) echo no; false;; esac; }";

impl Program {
    pub fn random(rng: &mut fastrand::Rng, language: Language, looks_at: &LooksAt<'_>) -> Self {
        let count = *rng.choice(&[1, 1, 2, 2, 3, 4, 6]).unwrap_or(&1);
        let mut lines: Vec<String> = (0..count)
            .map(|_| match language {
                Language::Helper => helper(rng, looks_at),
                Language::Shell => shell(rng, looks_at),
                Language::Python => python(rng, looks_at),
            })
            .collect();
        if rng.u8(0..40) == 0 {
            let path = looks_at.path(rng);
            match language {
                Language::Helper => lines.push(format!("fail-if {}", encoded(&path))),
                Language::Shell => lines.push(format!("[ -e {} ] && exit 7", quoted(&path))),
                Language::Python => lines.push(format!("if os.path.exists({}): sys.exit(7)", quoted(&path))),
            }
        }
        Self { language, lines }
    }

    /// The command, for the exec form of `RUN`.
    pub fn argv(&self, result: &str) -> Vec<String> {
        let words = |head: &[&str]| head.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        match self.language {
            Language::Helper => [words(&["/tools/helper", result]), self.lines.clone()].concat(),
            Language::Shell => [words(&["/bin/sh", "-c"]), vec![self.script(result)]].concat(),
            Language::Python => {
                // -B: no `.pyc` with the time of its source in it.
                let head = words(&["/python/bin/python3", "-B", "-S", "-E", "-c"]);
                [head, vec![self.script(result)]].concat()
            }
        }
    }

    /// The text of a shell or Python script.
    pub fn script(&self, result: &str) -> String {
        match self.language {
            Language::Helper => String::new(),
            Language::Shell => {
                let lines: Vec<_> = self.lines.iter().map(|line| format!("{line}\necho \"= $?\"")).collect();
                format!("exec >>{result} 2>&1\n{PRELUDE}\n{}\nexit 0\n", lines.join("\n"))
            }
            Language::Python => {
                let head = format!("import sys, os, io\nsys.stdout = open('{result}', 'a')\ndef look(f):\n");
                let show =
                    " try: print(repr(f()))\n except Exception as e: print(type(e).__name__, getattr(e, 'errno', e))\n";
                format!("{head}{show}{}\n", self.lines.join("\n"))
            }
        }
    }
}

/// What a program has to look at.
pub struct LooksAt<'a> {
    pub tree: &'a Tree,
    /// Paths of mounts, of earlier results.
    pub further: &'a [String],
}

impl LooksAt<'_> {
    fn path(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        match rng.u8(0..20) {
            0..=1 if !self.further.is_empty() => {
                let some = rng.choice(self.further).map_or(&b"/t"[..], |p| p.as_bytes());
                if rng.bool() { some.to_vec() } else { paths::join(some, paths::name(rng)) }
            }
            2 => paths::relative(rng),
            3..=5 => [b"/", &paths::through_link(rng, self.tree)[..]].concat(),
            _ => paths::some(rng, self.tree),
        }
    }

    /// Most often something of that kind; else anything, for errors are observations too.
    fn of(&self, rng: &mut fastrand::Rng, wanted: fn(&Kind) -> bool) -> Vec<u8> {
        let fits = |path: &&Vec<u8>| paths::inside(path) && self.tree.get(path).is_some_and(|node| wanted(&node.kind));
        let fitting: Vec<_> = self.tree.paths().filter(fits).collect();
        match rng.choice(&fitting) {
            Some(path) if rng.u8(0..4) > 0 => paths::spelled(rng, path),
            _ => self.path(rng),
        }
    }

    fn file(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        self.of(rng, |kind| matches!(kind, Kind::File(_) | Kind::Hard(_) | Kind::Link(_)))
    }

    fn folder(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        self.of(rng, |kind| *kind == Kind::Dir)
    }

    /// Something with extended attributes, if there is any.
    fn noted(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        let noted = |path: &&Vec<u8>| self.tree.get(path).is_some_and(|node| !node.xattrs.is_empty());
        let noted: Vec<_> = self.tree.paths().filter(noted).collect();
        rng.choice(&noted).map_or_else(|| self.file(rng), |path| [b"/", &path[..]].concat())
    }

    /// Two names of one file, if there are any.
    fn two_names(&self, rng: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>) {
        let pairs = self.tree.paths().filter_map(|path| match &self.tree.get(path)?.kind {
            Kind::Hard(first) => Some((path, first)),
            _ => None,
        });
        let pairs: Vec<_> = pairs.collect();
        match rng.choice(&pairs) {
            Some((one, other)) => ([b"/", &one[..]].concat(), [b"/", &other[..]].concat()),
            None => (self.file(rng), self.file(rng)),
        }
    }

    /// A folder, and a path relative to it.
    fn near(&self, rng: &mut fastrand::Rng) -> (Vec<u8>, Vec<u8>) {
        let there: Vec<_> = self.tree.paths().filter(|path| paths::inside(path)).collect();
        let Some(path) = rng.choice(&there).filter(|_| rng.u8(0..3) > 0) else {
            return (self.folder(rng), paths::relative(rng));
        };
        let slashes: Vec<_> = (0..path.len()).filter(|at| path[*at] == b'/').collect();
        let cut = *rng.choice(&slashes).unwrap_or(&1);
        let (folder, rest) = (&path[..cut], &path[cut + 1..]);
        let below: Vec<_> = self.tree.paths().filter(|path| paths::parent(path) == folder).collect();
        match rng.choice(&below) {
            // By way of something beside it, which may be a link to elsewhere.
            Some(beside) if rng.u8(0..3) == 0 => ([b"/", &beside[..]].concat(), [b"../", rest].concat()),
            _ => ([b"/", folder].concat(), rest.to_vec()),
        }
    }

    /// Where something new may come to be.
    fn fresh(&self, rng: &mut fastrand::Rng) -> Vec<u8> {
        match rng.u8(0..3) {
            0 => self.path(rng),
            1 => paths::join(b"/w", format!("new{}", rng.u8(0..4)).as_bytes()),
            _ => paths::join(&self.folder(rng), format!("new{}", rng.u8(0..4)).as_bytes()),
        }
    }
}

fn helper(rng: &mut fastrand::Rng, looks_at: &LooksAt<'_>) -> String {
    let (path, other) = (encoded(&looks_at.path(rng)), encoded(&looks_at.path(rng)));
    let (file, fresh) = (encoded(&looks_at.file(rng)), encoded(&looks_at.fresh(rng)));
    let both = |(folder, near): (Vec<u8>, Vec<u8>)| (encoded(&folder), encoded(&near));
    let ((folder, near), (folder2, near2)) = (both(looks_at.near(rng)), both(looks_at.near(rng)));
    let (text, new) = (encoded(&text(rng)), format!("/w/new{}", rng.u8(0..3)));
    let noted = encoded(&looks_at.noted(rng));
    let octal = format!("{:o}", mode(rng, &Kind::File(Vec::new())));
    let pick = |rng: &mut fastrand::Rng, ops: &[&str]| (*rng.choice(ops).unwrap_or(&"read")).to_owned();
    match rng.u8(0..24) {
        0..=3 => {
            let ops = [
                "read",
                "read",
                "stat",
                "lstat",
                "readlink",
                "read-nofollow",
                "mmap",
                "opath-reopen",
                "open-tree",
                "proc-root",
                "proc-init-root",
                "ring-read",
                "open-rdwr",
                "read",
            ];
            format!("{} {file}", pick(rng, &ops))
        }
        4..=5 => {
            let ops =
                ["list", "list", "chdir-list", "chroot-list", "getcwd", "read-all-in", "proc-thread-root", "stat"];
            format!("{} {}", pick(rng, &ops), encoded(&looks_at.folder(rng)))
        }
        6..=7 => {
            let ops = [
                "stat",
                "lstat",
                "faccessat2",
                "listxattr",
                "statfs",
                "canonicalize",
                "opath-stat",
                "inotify",
                "handle",
                "connect",
                "mount",
                "umount",
                "exec",
            ];
            format!("{} {path}", pick(rng, &ops))
        }
        8 => format!("access {path} {}", rng.choice([0, 1, 2, 4]).unwrap_or(0)),
        9 => format!("{} {noted} user.note", pick(rng, &["getxattr", "lgetxattr"])),
        10..=12 => {
            let ops = [
                "chdir-read",
                "chdir-stat",
                "fchdir-read",
                "openat",
                "openat-path",
                "openat-dup",
                "openat-inherited",
                "readlinkat",
                "proc-fd",
                "dev-fd",
                "proc-cwd",
                "proc-parent-cwd",
                "removed-cwd",
            ];
            format!("{} {folder} {near}", pick(rng, &ops))
        }
        13 => {
            let resolve = pick(rng, &["in-root", "beneath", "no-symlinks", "no-magic-links"]);
            let inside = if rng.bool() { near } else { path };
            format!("openat2 {folder} {inside} {resolve}")
        }
        14 => format!("threads {folder} {near} {folder2} {near2}"),
        15 => {
            let ops = ["chroot-read", "chroot-outside"];
            format!("{} {folder} {}", pick(rng, &ops), if rng.bool() { near } else { path })
        }
        16 => match rng.u8(0..5) {
            0 => format!("own-link-dir {new} {folder2} {near2}"),
            1 => format!("symlink-read {folder2} {new} {near2}"),
            2 => format!("symlink-read {near} {fresh} {near2}"),
            3 => format!("moved-fd /w/own {folder2}/moved ../{near2}"),
            _ => format!("moved-cwd /w/own {folder2}/moved ../{near2}"),
        },
        17 if rng.u8(0..4) == 0 => {
            // An interpreter by a relative path depends on where one is.
            let (folder, name) = *rng.choice(&RELATIVE_INTERPRETERS).unwrap_or(&RELATIVE_INTERPRETERS[0]);
            if rng.bool() {
                format!("memfd-exec {folder} {name}")
            } else {
                format!("script-exec {folder} {name} {new}")
            }
        }
        17 => {
            let program =
                pick(rng, &["/opt/script", "/opt/program", "/opt/to-script", "/opt/inner", "/t/../opt/script"]);
            format!("{} {program}", pick(rng, &["exec", "exec-fd", "exec"]))
        }
        18 => {
            let ops = [
                "old-open",
                "old-stat",
                "old-lstat",
                "old-access",
                "old-mkdir",
                "old-rmdir",
                "old-creat",
                "old-unlink",
                "old-readlink",
                "old-chmod",
                "old-statfs",
                "old-utimes",
                "old-getdents",
            ];
            format!("{} {path}", pick(rng, &ops))
        }
        19..=20 => {
            let op = pick(rng, &["write", "append", "append-or-create", "patch", "create-new", "replace"]);
            format!("{op} {} {text}", if rng.bool() { file } else { fresh })
        }
        21 => {
            let owner = owner(rng).0;
            let value = rng.choice(["red", "blue", "green"]).unwrap_or("red");
            match rng.u8(0..8) {
                0 => format!("chmod {path} {octal}"),
                1 => format!("fchmodat2 {file} {octal}"),
                2 => format!("{} {path} {owner}", pick(rng, &["chown", "lchown"])),
                3 => format!("touch {file}"),
                7 => format!("fchmod {file} {octal}"),
                4 => format!("setxattr {file} user.note {value}"),
                5 => format!("removexattr {noted} user.note"),
                _ => format!("truncate {file} {}", rng.u8(0..4)),
            }
        }
        22 => {
            let ops =
                ["mkdir", "mkdir-p", "rmdir", "unlink", "rmtree", "remake", "delete-probe", "lock", "bind", "mkfifo"];
            match pick(rng, &ops).as_str() {
                // A pipe where nobody looks: a shell that reads one waits for ever.
                "mkfifo" => format!("mkfifo /w/pipe{}", rng.u8(0..2)),
                op @ ("mkdir" | "mkdir-p" | "lock" | "bind") => format!("{op} {fresh}"),
                op @ ("rmdir" | "rmtree" | "remake") => format!("{op} {}", encoded(&looks_at.folder(rng))),
                op => format!("{op} {file}"),
            }
        }
        _ => match rng.u8(0..9) {
            // One folder takes the place of another, if that is empty; a link cannot.
            7 => format!("{} {folder} {folder2}", pick(rng, &["rename", "exchange", "rename-new"])),
            8 => format!("symlink {path} {folder}"),
            0 => format!("symlink {path} {fresh}"),
            1 => format!("symlink {near} {fresh}"),
            2 => format!("link {file} {fresh}"),
            3 => format!("copy {file} {fresh}"),
            5 => format!("tmpfile {folder} {} {text}", encoded(paths::name(rng))),
            4 => format!("rename {path} {fresh}"),
            _ => format!("{} {path} {other}", pick(rng, &["rename", "exchange", "rename-new"])),
        },
    }
}

fn shell(rng: &mut fastrand::Rng, looks_at: &LooksAt<'_>) -> String {
    let (path, other) = (quoted(&looks_at.path(rng)), quoted(&looks_at.path(rng)));
    let (file, fresh) = (quoted(&looks_at.file(rng)), quoted(&looks_at.fresh(rng)));
    let (folder, name) = looks_at.near(rng);
    let (folder, name, word) = (quoted(&folder), quoted(&name), quoted(&text(rng)));
    let (name1, name2) = looks_at.two_names(rng);
    let (name1, name2) = (quoted(&name1), quoted(&name2));
    // What a program tells of a whole folder comes in the folder's own order, which is nobody's input: it is sorted.
    let lines = [
        format!("cat {file}"),
        format!("cat < {file}"),
        format!("cat {file} {other} | md5sum"),
        format!("if [ -e {path} ]; then echo there; else echo absent; fi"),
        format!("[ -L {path} ] && readlink {path}"),
        format!("[ -d {path} ] && ls -1a {path}"),
        format!("test -x {path} || test -s {path}"),
        format!("ls -1 {folder}"),
        format!("for f in {folder}/*; do echo \"$f\"; done"),
        format!("for f in {folder}/[ab]*; do cat \"$f\"; done"),
        format!("echo {folder}/*/{name}"),
        format!("mine {folder} && find {folder} 2>&1 | sort"),
        format!("mine {folder} && find {folder} -type f -print0 2>/dev/null | sort -z | xargs -0 cat"),
        format!("mine {folder} && find {folder} -type l 2>&1 | sort"),
        format!("mine {folder} && find {folder} -perm -020 2>&1 | sort"),
        format!("mine {folder} && grep -r o {folder} 2>&1 | sort"),
        format!("mine {folder} && tar cf - -C {folder} . 2>/dev/null | tar tf - | sort"),
        format!("stat -c '%F %a %u %g' {path}"),
        format!("stat -L -c '%F %a %u %g' {path}"),
        format!("readlink -f {path}"),
        format!("cd {folder} && pwd -P && ls -1"),
        format!("(cd {folder} && cat ../{name})"),
        format!("(cd {folder} && cat {name})"),
        format!("PATH={folder}:{path}:/bin:/opt inner word"),
        format!("PATH={folder}:/bin command -v {name}"),
        "/opt/script word".to_owned(),
        "/opt/program".to_owned(),
        ". /opt/sourced".to_owned(),
        "sh -c '. /opt/sourced'".to_owned(),
        format!("cmp {path} {other}"),
        format!("[ {name1} -ef {name2} ]"),
        format!("[ {name1} -ef {name2} ]; cp -p {name1} {name2} /w"),
        format!("echo {word} > {file}"),
        format!("echo {word} > {fresh}"),
        format!("echo {word} >> {file}"),
        format!("set -C; echo {word} > {fresh}; set +C"),
        format!("cp {file} {fresh}"),
        format!("mine {path} && cp -a {path} /w/copy 2>&1 | sort"),
        format!("mine {folder} && cp -r {folder}/. /w/copy 2>&1 | sort"),
        format!("mv {path} {fresh}"),
        format!("ln -s {path} {fresh} && cat {fresh}"),
        // In the folder if it is one, else in its place.
        format!("ln -s {path} {folder}; ls -1 {folder}"),
        format!("ln -sfn {path} {folder} && cat {folder}/{name}"),
        format!("mv -T {folder} {fresh} 2>/dev/null; mv -T {path} {folder}"),
        format!("(cd {folder} && printf '#!%s of the script\\n' {name} > /w/rel && chmod 755 /w/rel && /w/rel)"),
        // So that what is behind it has the time to run ahead.
        format!("sleep 0.05; cat {file}"),
        format!("ln {file} {fresh}"),
        format!("mine {path} && rm -rf {path} 2>&1 | sort"),
        format!("rm -f {file}"),
        format!("rm -f {folder}/{name}"),
        format!("mkdir -p {fresh}/deep/er"),
        format!("rmdir {path}"),
        format!("mine {file} && [ -f {file} ] && sed -i s/o/0/ {file} 2>/dev/null"),
        format!("mine {folder} && chmod -R g-w {folder} 2>&1 | sort"),
        format!("mine {folder} && chown -R 3333 {folder} 2>&1 | sort"),
        format!("touch {file}"),
        "id; cat /etc/passwd | grep bob".to_owned(),
        format!("umask 077; mkdir {fresh}; umask 022"),
        format!("mine {folder} && mv {folder} /w/moved 2>/dev/null && ls -1 /w/moved"),
    ];
    lines[rng.usize(0..lines.len())].clone()
}

fn python(rng: &mut fastrand::Rng, looks_at: &LooksAt<'_>) -> String {
    let literal = |path: &[u8]| serde_json::Value::from(String::from_utf8_lossy(path).into_owned()).to_string();
    let (path, fresh) = (literal(&looks_at.file(rng)), literal(&looks_at.fresh(rng)));
    let (folder, name) = looks_at.near(rng);
    let (folder, name) = (literal(&folder), literal(&name));
    let lines = [
        format!("look(lambda: open({path}, 'rb').read())"),
        format!("look(lambda: sorted(os.listdir({folder})))"),
        format!("look(lambda: sorted((e.name, e.is_dir(), e.is_symlink()) for e in os.scandir({folder})))"),
        // Not by a link to the root, and from there into /proc.
        format!(
            "look(lambda: os.path.realpath({folder}) > '/' and sorted((d, sorted(f)) for d, _, f in os.walk({folder})))"
        ),
        format!("look(lambda: os.path.exists({path}))"),
        format!("look(lambda: os.path.isdir({path}))"),
        format!("look(lambda: os.path.realpath({path}))"),
        format!("look(lambda: os.readlink({path}))"),
        format!("look(lambda: os.stat({path}).st_mode)"),
        format!("look(lambda: os.access({path}, os.R_OK))"),
        format!("import glob; look(lambda: sorted(glob.glob(os.path.join({folder}, '*', '*'))))"),
        "sys.path.insert(0, '/opt'); look(lambda: __import__('module').VALUE)".to_owned(),
        format!("sys.path[:0] = [{folder}, '/opt']; look(lambda: __import__('module').VALUE)"),
        format!("look(lambda: open({fresh}, 'x').write('x'))"),
        format!("look(lambda: open({path}, 'a').write('more'))"),
        format!("look(lambda: os.replace({path}, {fresh}))"),
        format!("look(lambda: os.makedirs(os.path.join({fresh}, 'deep'), exist_ok=True))"),
        format!("look(lambda: os.open({name}, os.O_RDONLY, dir_fd=os.open({folder}, os.O_RDONLY)) > 0)"),
        format!("look(lambda: (os.chdir({folder}), open({name}, 'rb').read(), os.chdir('/'))[1])"),
        format!("look(lambda: os.unlink({path}))"),
    ];
    lines[rng.usize(0..lines.len())].clone()
}
