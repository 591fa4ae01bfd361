//! Steps behind one that runs are started before their turn, on a guess of what it makes.

use std::fs;

use crate::common::Home;

/// The second step reads nothing of the first. The first waits for it, for a while.
const MEETING: &str = "
FROM base:1
COPY first /first
COPY second /second
RUN --mount=type=cache,target=/c cat /first/a >/from-first; \
    for i in $(seq 300); do if [ ! -e /first/wait ] || [ -e /c/second ]; then break; fi; sleep 0.1; done; \
    if [ -e /c/second ]; then echo met; fi >/met
RUN --mount=type=cache,target=/c cat /second/b >/from-second; echo said by the second; touch /c/second
";

#[test]
fn a_step_that_reads_nothing_of_the_one_before_it_runs_at_the_same_time() {
    let home = Home::with_base();
    home.write("first/a", "old\n");
    home.write("second/b", "old\n");
    home.build("app:1", &MEETING.replace("touch /c/second", "true"), &[]);
    home.write("first/wait", "");
    home.write("first/a", "new\n");
    home.write("second/b", "new\n");
    let built = home.build("app:1", MEETING, &[]);
    assert_eq!(home.file("app:1", "met"), "met\n");
    assert_eq!(home.file("app:1", "from-first"), "new\n");
    assert_eq!(home.file("app:1", "from-second"), "new\n");
    // It ran, whenever that was.
    assert_eq!(built.ran().len(), 4, "{:?}", built.ran());
}

/// The second step reads what the first makes, and notes each of its runs in a cache.
const CHAIN: &str = "
FROM base:1
COPY first /first
COPY second /second
RUN --mount=type=cache,target=/c rm -f /c/started; cat /first/a >/out; \
    for i in $(seq 100); do if [ ! -e /first/wait ] || [ -e /c/started ]; then break; fi; sleep 0.1; done
RUN --mount=type=cache,target=/c cat /out /second/b >/both; echo >>/c/runs; touch /c/started; wc -l </c/runs >/runs
";

#[test]
fn a_wrong_guess_is_never_a_result_and_is_not_made_twice() {
    let home = Home::with_base();
    home.write("first/a", "1\n");
    home.write("second/b", "1\n");
    home.build("app:1", CHAIN, &[]);
    home.write("first/wait", "");
    let mut runs = Vec::new();
    for n in 2..5 {
        home.write("first/a", format!("{n}\n"));
        home.write("second/b", format!("{n}\n"));
        home.build("app:1", CHAIN, &[]);
        assert_eq!(home.file("app:1", "both"), format!("{n}\n{n}\n"));
        runs.push(home.file("app:1", "runs").trim().parse::<u32>().unwrap());
        let _ = fs::remove_file(home.work().join("first/wait"));
    }
    // The first time it was started on what the step before it had made, and ended or done again.
    assert_eq!(runs, [3, 4, 5]);
}

/// Each step reads what the one before it makes. The first waits until the second was started.
const THREE: &str = "
FROM base:1
COPY first /first
RUN --mount=type=cache,target=/c rm -f /c/started; cat /first/a >/out; \
    for i in $(seq 100); do if [ ! -e /first/wait ] || [ -e /c/started ]; then break; fi; sleep 0.1; done; sleep 0.5
RUN --mount=type=cache,target=/c touch /c/started; cat /out >/two
RUN --mount=type=cache,target=/c echo >>/c/third; cat /two >/three; wc -l </c/third >/runs
";

#[test]
fn a_guess_that_nobody_knows_is_not_tried_on_top_of_another() {
    let home = Home::with_base();
    home.write("first/a", "1\n");
    home.build("app:1", THREE, &[]);
    home.write("first/wait", "");
    home.write("first/a", "2\n");
    home.build("app:1", THREE, &[]);
    assert_eq!(home.file("app:1", "three"), "2\n");
    assert_eq!(home.file("app:1", "runs").trim(), "2", "once in each build");
}

#[test]
fn nothing_runs_ahead_where_that_is_not_wanted() {
    let home = Home::with_base();
    home.write("first/a", "1\n");
    home.write("second/b", "1\n");
    home.build("app:1", CHAIN, &[]);
    home.write("first/a", "2\n");
    home.write("second/b", "2\n");
    home.build("app:1", CHAIN, &["--no-ahead"]);
    assert_eq!(home.file("app:1", "both"), "2\n2\n");
    assert_eq!(home.file("app:1", "runs").trim(), "2");
}
