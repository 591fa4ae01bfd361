// Calls that no shell makes, one a run: probe WHAT ARGUMENT...
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int say(const char *what, long result) {
    if (result < 0) printf("%s: %s\n", what, strerror(errno));
    else printf("%s: ok\n", what);
    return 0;
}

static void show(int fd) {
    char text[100];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n < 0) printf("error %s\n", strerror(errno));
    else printf("%.*s\n", (int)n, text);
}

// A thread with a working directory of its own reads a relative path.
static void *elsewhere(void *argument) {
    char **names = argument;
    if (unshare(CLONE_FS) || chdir(names[0])) return NULL;
    show(open(names[1], O_RDONLY));
    return NULL;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "openat")) {
        show(openat(open(argv[2], O_RDONLY | O_DIRECTORY), argv[3], O_RDONLY));
    } else if (!strcmp(what, "fchdir")) {
        if (fchdir(open(argv[2], O_RDONLY | O_DIRECTORY))) return 1;
        show(open(argv[3], O_RDONLY));
    } else if (!strcmp(what, "openat2")) {
        struct open_how how = {.flags = O_RDONLY, .resolve = argc > 4 ? RESOLVE_IN_ROOT : 0};
        show(syscall(SYS_openat2, open(argv[2], O_PATH), argv[3], &how, sizeof how));
    } else if (!strcmp(what, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, elsewhere, argv + 2);
        pthread_join(thread, NULL);
        show(open(argv[4], O_RDONLY));
    } else if (!strcmp(what, "o_path")) {
        char name[40];
        snprintf(name, sizeof name, "/proc/self/fd/%d", open(argv[2], O_PATH));
        show(open(name, O_RDONLY));
    } else if (!strcmp(what, "getxattr")) {
        char value[10];
        say("getxattr", getxattr(argv[2], "user.x", value, sizeof value));
    } else if (!strcmp(what, "io_uring")) {
        say("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
    } else if (!strcmp(what, "by_handle")) {
        struct file_handle *handle = calloc(1, sizeof *handle + 128);
        int mount;
        handle->handle_bytes = 128;
        name_to_handle_at(AT_FDCWD, argv[2], handle, &mount, 0);
        say("by_handle", open_by_handle_at(open("/", O_RDONLY), handle, O_RDONLY));
    } else if (!strcmp(what, "unshare")) {
        say("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS));
    } else if (!strcmp(what, "listener")) {
        struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
        struct sock_fprog program = {1, allow};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        say("listener", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
        say("filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
        show(open(argv[2], O_RDONLY));
    } else if (!strcmp(what, "fexecve")) {
        char *arguments[] = {"x", NULL};
        fexecve(open(argv[2], O_RDONLY), arguments, environ);
        return 1;
    } else if (!strcmp(what, "memfd")) {
        char *arguments[] = {"x", NULL};
        int fd = memfd_create("x", 0);
        dprintf(fd, "%s\necho from memory\n", argv[2]);
        fexecve(fd, arguments, environ);
        return 1;
    } else if (!strcmp(what, "rename")) {
        say("rename", rename(argv[2], argv[3]));
    } else if (!strcmp(what, "symlink")) {
        say("symlink", symlink(argv[2], argv[3]));
    } else if (!strcmp(what, "socket")) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
        inet_pton(AF_INET, argv[2], &address.sin_addr);
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        struct mmsghdr message = {.msg_hdr = {.msg_name = &address, .msg_namelen = sizeof address}};
        if (argc > 3 && !strcmp(argv[3], "sendmmsg")) sendmmsg(fd, &message, 1, 0);
        else if (argc > 3) sendto(fd, "x", 1, 0, (void *)&address, sizeof address);
        else connect(fd, (void *)&address, sizeof address);
    } else if (!strcmp(what, "connect")) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, argv[2], sizeof address.sun_path - 1);
        say("connect", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address));
    } else if (!strcmp(what, "edge")) {
        // A path whose end is the end of what can be read.
        char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(pages + 4096, 4096, PROT_NONE);
        char *path = pages + 4096 - strlen(argv[2]) - 1;
        strcpy(path, argv[2]);
        show(open(path, O_RDONLY));
    } else if (!strcmp(what, "chroot")) {
        if (chroot(argv[2]) || chdir("/")) return 1;
        show(open(argv[3], O_RDONLY));
    } else if (!strcmp(what, "uid")) {
        printf("%d\n", geteuid());
        show(open(argv[2], O_RDONLY));
    } else if (!strcmp(what, "stay")) {
        // A process that outlives the step, and reads on.
        if (fork() == 0) {
            setsid();
            for (;;) close(open(argv[2], O_RDONLY));
        }
        usleep(20000);
    } else {
        return 2;
    }
    return 0;
}
