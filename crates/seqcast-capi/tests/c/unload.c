/*
 * Unloads the library, as nginx does at each reload when it closes a Lua VM. The library must stay mapped, because its
 * fork handler and the thread-local destructors of its users run later. The argument is the library's path.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int (*unlink_function)(const char *, size_t);

static int fails(const char *what) {
    fprintf(stderr, "%s: %s\n", what, dlerror());
    return 1;
}

static int is_mapped(void) {
    char line[4096];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, "libseqcast") != NULL && strstr(line, "r-xp") != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

static pthread_barrier_t used, unloaded;

/* Uses a thread-local of the library, and ends after the library is closed. */
static void *uses(void *function) {
    unlink_function call = *(unlink_function *)function;
    if (call("no such name", 12) >= 0)
        return "the call succeeded";
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&unloaded);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    pthread_barrier_init(&used, NULL, 2);
    pthread_barrier_init(&unloaded, NULL, 2);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return fails("dlopen");
    unlink_function function;
    *(void **)&function = dlsym(library, "seqcast_unlink");
    if (function == NULL)
        return fails("dlsym");
    pthread_t thread;
    if (pthread_create(&thread, NULL, uses, &function) != 0)
        return 2;
    pthread_barrier_wait(&used);
    if (!is_mapped())
        return fails("not mapped before");
    if (dlclose(library) != 0)
        return fails("dlclose");
    if (!is_mapped())
        return fails("not mapped any more");
    pthread_barrier_wait(&unloaded);
    void *failure;
    if (pthread_join(thread, &failure) != 0 || failure != NULL)
        return fails("the thread");

    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    if (waitpid(child, &status, 0) != child || status != 0)
        return fails("fork");
    return 0;
}
