/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines: one table of commands, one table of options per command with offsets into that
 * command's own struct. --help, completion and the man page's OPTIONS come from the tables.
 */
#pragma once

#include "core/mem.h"

enum kp_option_type {
    KP_OPT_FLAG,   /* bool */
    KP_OPT_TEXT,   /* const char *, borrowed from argv */
    KP_OPT_LIST,   /* struct kp_text_list; the option may be given several times */
    KP_OPT_NUMBER, /* uint64_t */
    KP_OPT_SIZE,   /* uint64_t, "64MiB" */
    KP_OPT_MAYBE,  /* const char *; "" where the next word is an option or there is none */
};

#define KP_LIST_MAX 256
struct kp_text_list {
    const char *items[KP_LIST_MAX];
    size_t count;
};

struct kp_option {
    const char *name; /* "bundle": --bundle; long options take "--name VALUE" and "--name=VALUE" */
    char letter;      /* 'i', or 0 */
    enum kp_option_type type;
    size_t offset;     /* offsetof(struct options, member) */
    const char *value; /* "FILE"; NULL for flags */
    const char *help;
    uint64_t max; /* for numbers; 0: no limit */
};

struct kp_command {
    const char *name;                /* "create"; "" is what runs when no command is named */
    const char *arguments;           /* "BUNDLE…" for the usage line; "" where none are taken */
    size_t least, most;              /* positional arguments */
    const char *summary;             /* one line */
    const char *details;             /* paragraphs for --help and man; may be NULL */
    const struct kp_option *options; /* ended by .name = NULL; NULL where none */
    size_t size;                     /* sizeof the options struct */
    /* options is zeroed and filled; argv has the positional arguments. Returns 0 or -1. */
    int (*run)(void *options, int argc, char **argv, struct kp_err *err);
};

struct kp_program {
    const char *name, *summary;
    const struct kp_command *commands; /* ended by .name = NULL */
    const char *epilogue;              /* exit codes etc.; may be NULL */
};

/* The whole of main: parses, runs, prints the error ("kpack: …", hint below it) to stderr, or as a
 * JSON object on stdout where --json was given; returns the exit code. Knows --help, --version,
 * `help CMD`, `completion bash`. An unknown command or option names the nearest. --json, --quiet,
 * --no-color are options like others; where a command has a KP_OPT_FLAG named "json", errors are
 * JSON. */
int kp_cli_main(const struct kp_program *program, int argc, char **argv);
/* The whole man page in man(7) markup (`PROGRAM man` prints it, the build installs it); kp_free. */
char *kp_cli_man(const struct kp_program *program);
#ifndef KP_VERSION
#define KP_VERSION "0.1.0"
#endif
