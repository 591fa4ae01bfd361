// What a shell cannot look at: rights of the running program, and a file as memory.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void rights(void) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    printf("euid %d egid %d\n", geteuid(), getegid());
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "CapPrm", 6)) fputs(line, stdout);
}

// Every page of a file, from the last to the first, so that nothing is read ahead.
static void memory(const char *path) {
    struct stat found;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &found)) exit(1);
    unsigned char *bytes = mmap(0, found.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED || madvise(bytes, found.st_size, MADV_RANDOM)) exit(2);
    unsigned long sum = 0;
    for (long at = (found.st_size - 1) / 4096 * 4096; at >= 0; at -= 4096) sum = sum * 31 + bytes[at];
    printf("%lu\n", sum);
}

int main(int count, char **words) {
    if (count > 1) memory(words[1]); else rights();
    return 0;
}
