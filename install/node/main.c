/* SPDX-License-Identifier: Apache-2.0 */
/* knode: the small hand on each node. kinstall starts it; inside pods it is the probe. */
#include "install/node/catch_up.h"

#include "core/cli.h"
#include "core/interrupt.h"
#include "net/net.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct probe_server_options {
    uint64_t port;
};
struct probe_client_options {
    struct kp_text_list dns, get;
};

static bool nonce_is_sane(const char *nonce)
{
    return strlen(nonce) == KP_NONCE_HEX && strspn(nonce, "0123456789abcdef") == KP_NONCE_HEX;
}

// What the caller's login left in the environment (proxies, locale, LD_*) is none of a node's
// business.
static void clean_environment(void)
{
    const char *user = getenv("SUDO_USER");
    kp_auto_free char *sudo_user = kp_strdup(user ? user : "");
    clearenv();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    setenv("LANG", "C.UTF-8", 1);
    setenv("SUDO_USER", sudo_user, 1);
    umask(022);
}

static int run_serve(void *options, int argc, char **argv, struct kp_err *err)
{
    (void)options;
    (void)argc;
    if (!nonce_is_sane(argv[0]))
        return kp_fail(err, KP_USAGE, "serve is for kinstall: it needs a nonce");
    clean_environment();
    kp_interrupt_catch();
    // Frames have their own descriptors, so that nothing else can ever write into the stream.
    int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3),
        out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    kp_auto_value(kp_node_state) state = KP_NODE_STATE("");
    int failed = kp_node_serve(&state, in, out, argv[0], err);
    // Threads that did not end in time must not see their state go: leave without unwinding.
    if (failed < 0)
        dprintf(STDERR_FILENO, "knode: %s\n", err->message);
    _exit(failed < 0 ? KP_FAILED : 0);
}

static int run_task(void *options, int argc, char **argv, struct kp_err *err)
{
    (void)options;
    (void)argc;
    clean_environment();
    return kp_node_task_main(argv[0], err);
}

static int run_probe_server(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct probe_server_options *o = options;
    (void)argc;
    (void)argv;
    kp_interrupt_catch();
    return kp_node_probe_server(o->port ? (uint16_t)o->port : 8080, err);
}

static int run_probe_client(void *options, int argc, char **argv, struct kp_err *err)
{
    struct probe_client_options *o = options;
    const char *names[KP_LIST_MAX + 1] = {NULL}, *urls[KP_LIST_MAX + 1] = {NULL};
    bool all_well;
    (void)argc;
    (void)argv;
    memcpy(names, o->dns.items, o->dns.count * sizeof(names[0]));
    memcpy(urls, o->get.items, o->get.count * sizeof(urls[0]));
    if (kp_node_probe_client(names, urls, &all_well, err) < 0)
        return -1;
    return all_well ? 0 : kp_fail(err, KP_FAILED, "not all of it could be reached");
}

static int run_probe_volume(void *options, int argc, char **argv, struct kp_err *err)
{
    (void)options;
    (void)argc;
    return kp_node_probe_volume(argv[0], err);
}

static int run_pause(void *options, int argc, char **argv, struct kp_err *err)
{
    (void)options;
    (void)argc;
    (void)argv;
    (void)err;
    kp_interrupt_catch();
    while (!kp_interrupted())
        pause();
    return 0;
}

static int run_mirrors(void *options, int argc, char **argv, struct kp_err *err)
{
    (void)options;
    (void)argc;
    (void)argv;
    kp_interrupt_catch();
    return kp_node_mirrors_watch(err);
}

static int run_approve(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_node_approving *how = options;
    (void)argc;
    (void)argv;
    if (!how->kubeconfig || !how->nodes || !how->result)
        return kp_fail(err, KP_USAGE, "--kubeconfig, --nodes and --result are needed");
    return kp_node_approve(how, err);
}

static int run_catch_up(void *options, int argc, char **argv, struct kp_err *err)
{
    struct kp_node_catching *how = options;
    enum kp_caught_up result;
    (void)argc;
    (void)argv;
    if (!how->folder || !kp_node_path_is_plain(how->folder) || !how->own || !how->ca)
        return kp_fail(err, KP_USAGE, "--folder, --own and --ca are needed");
    clean_environment();
    kp_interrupt_catch();
    kp_auto_value(kp_node_state) state = KP_NODE_STATE("");
    return kp_node_catch_up(&state, how, &result, err);
}

static const struct kp_option probe_server_table[] = {
    {.name = "port",
     .type = KP_OPT_NUMBER,
     .offset = offsetof(struct probe_server_options, port),
     .value = "N",
     .help = "TCP port (8080)",
     .max = 65535},
    {.name = NULL},
};
static const struct kp_option probe_client_table[] = {
    {.name = "dns",
     .type = KP_OPT_LIST,
     .offset = offsetof(struct probe_client_options, dns),
     .value = "NAME",
     .help = "resolve this name"},
    {.name = "get",
     .type = KP_OPT_LIST,
     .offset = offsetof(struct probe_client_options, get),
     .value = "URL",
     .help = "get this page"},
    {.name = NULL},
};
static const struct kp_option approve_table[] = {
    {.name = "kubeconfig",
     .type = KP_OPT_TEXT,
     .offset = offsetof(struct kp_node_approving, kubeconfig),
     .value = "FILE",
     .help = "the credential that may approve"},
    {.name = "nodes",
     .type = KP_OPT_TEXT,
     .offset = offsetof(struct kp_node_approving, nodes),
     .value = "FILE",
     .help = "nodes of the inventory and their addresses"},
    {.name = "result",
     .type = KP_OPT_TEXT,
     .offset = offsetof(struct kp_node_approving, result),
     .value = "FILE",
     .help = "where what was done is written"},
    {.name = NULL},
};
static const struct kp_option catch_up_table[] = {
    {.name = "mirror",
     .type = KP_OPT_LIST,
     .offset = offsetof(struct kp_node_catching, mirrors),
     .value = "URL",
     .help = "another mirror"},
    {.name = "own",
     .type = KP_OPT_TEXT,
     .offset = offsetof(struct kp_node_catching, own),
     .value = "URL",
     .help = "this one"},
    {.name = "folder",
     .type = KP_OPT_TEXT,
     .offset = offsetof(struct kp_node_catching, folder),
     .value = "PATH",
     .help = "where the bundles are"},
    {.name = "ca",
     .type = KP_OPT_TEXT,
     .offset = offsetof(struct kp_node_catching, ca),
     .value = "FILE",
     .help = "the CA of the mirrors"},
    {.name = NULL},
};
static const struct kp_command commands[] = {
    {.name = "serve",
     .arguments = "NONCE",
     .least = 1,
     .most = 1,
     .run = run_serve,
     .summary = "speak with kinstall on stdin and stdout"},
    {.name = "task",
     .arguments = "FOLDER",
     .least = 1,
     .most = 1,
     .run = run_task,
     .summary = "run the command of a transient unit"},
    {.name = "probe-server",
     .arguments = "",
     .options = probe_server_table,
     .size = sizeof(struct probe_server_options),
     .run = run_probe_server,
     .summary = "answer HTTP with the pod's name"},
    {.name = "probe-client",
     .arguments = "",
     .options = probe_client_table,
     .size = sizeof(struct probe_client_options),
     .run = run_probe_client,
     .summary = "resolve names and get pages, print JSON"},
    {.name = "probe-volume",
     .arguments = "FOLDER",
     .least = 1,
     .most = 1,
     .run = run_probe_volume,
     .summary = "write a file there and read it back"},
    {.name = "mirrors",
     .arguments = "",
     .run = run_mirrors,
     .summary = "put mirrors that do not answer last (service kpack-mirrors)"},
    {.name = "catch-up",
     .arguments = "",
     .options = catch_up_table,
     .size = sizeof(struct kp_node_catching),
     .run = run_catch_up,
     .summary = "fetch what the other mirrors serve and this one lacks (service kpack-catch-up)"},
    {.name = "approve",
     .arguments = "",
     .options = approve_table,
     .size = sizeof(struct kp_node_approving),
     .run = run_approve,
     .summary = "approve kubelets' serving certificates (service kpack-approve)"},
    {.name = "pause", .arguments = "", .run = run_pause, .summary = "stay until told to end"},
    {.name = NULL},
};

int main(int argc, char **argv)
{
    const struct kp_program program = {
        .name = "knode", .summary = "kpack's hand on a node", .commands = commands};
    kp_net_init();
    return kp_cli_main(&program, argc, argv);
}
