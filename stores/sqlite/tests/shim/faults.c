/* Loaded before libc into a process that writes a store: counts the calls that write or sync files whose path contains
 * FAULT_PATH, and strikes at call FAULT_AT (and the FAULT_FOR - 1 after it). A line for each call, and one for each
 * "child: ack" written to standard output, is appended to FAULT_LOG, so that their order can be read.
 *
 * FAULT_MODE: before (SIGKILL before the call), after (SIGKILL after it), torn (half of a write, then SIGKILL),
 * enospc, eio (the call fails). Calls go to the kernel directly, so that nothing here calls itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static const char *path, *mode;
static long at, for_calls = 1;
static int log_fd = -1;
static atomic_long calls;

__attribute__((constructor)) static void configure(void) {
    path = getenv("FAULT_PATH");
    mode = getenv("FAULT_MODE");
    const char *text = getenv("FAULT_AT");
    at = text ? atol(text) : 0;
    text = getenv("FAULT_FOR");
    for_calls = text ? atol(text) : 1;
    text = getenv("FAULT_LOG");
    if (text) log_fd = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void note(const char *what, const char *where, size_t size) {
    char line[640];
    if (log_fd < 0) return;
    int length = snprintf(line, sizeof line, "%s %zu %s\n", what, size, where);
    syscall(SYS_write, log_fd, line, (size_t)length);
}

/* The number of this call if it concerns a watched file, else 0. */
static long watched(const char *what, int fd, size_t size) {
    char link[64], name[512];
    if (!path) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (!strstr(name, path)) return 0;
    long call = atomic_fetch_add(&calls, 1) + 1;
    note(what, name + (strstr(name, path) - name), size);
    return call;
}

static int strikes(long call) { return call > 0 && at > 0 && mode && call >= at && call < at + for_calls; }

static void die(void) { syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); }

/* Whether the call fails, with errno set. */
static int fails(void) {
    if (!strcmp(mode, "enospc")) { errno = ENOSPC; return 1; }
    if (!strcmp(mode, "eio")) { errno = EIO; return 1; }
    return 0;
}

#define AROUND(call, doing)                                  \
    do {                                                     \
        int struck = strikes(call);                          \
        if (struck && fails()) return -1;                    \
        if (struck && strcmp(mode, "after")) die();          \
        ssize_t result = doing;                              \
        if (struck) die();                                   \
        return result;                                       \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t size) {
    if (fd == 1 && size >= 10 && !memcmp(bytes, "child: ack", 10)) note("ack", "stdout", size);
    long call = fd > 2 ? watched("write", fd, size) : 0;
    if (strikes(call) && !strcmp(mode, "torn")) { syscall(SYS_write, fd, bytes, size / 2); die(); }
    AROUND(call, syscall(SYS_write, fd, bytes, size));
}

static ssize_t put_at(int fd, const void *bytes, size_t size, off_t offset) {
    long call = watched("write", fd, size);
    if (strikes(call) && !strcmp(mode, "torn")) { syscall(SYS_pwrite64, fd, bytes, size / 2, offset); die(); }
    AROUND(call, syscall(SYS_pwrite64, fd, bytes, size, offset));
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return put_at(fd, bytes, size, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) { return put_at(fd, bytes, size, offset); }

int fsync(int fd) { long call = watched("sync", fd, 0); AROUND(call, syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { long call = watched("sync", fd, 0); AROUND(call, syscall(SYS_fdatasync, fd)); }

static int cut(int fd, off_t size) { long call = watched("truncate", fd, (size_t)size); AROUND(call, syscall(SYS_ftruncate, fd, size)); }
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }
