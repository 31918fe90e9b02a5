/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cli.h"

#include "core/buf.h"
#include "core/json.h"
#include "core/screen.h"
#include "core/text.h"

#include <stdio.h>

#define COMMANDS_MAX 64
#define OPTIONS_MAX 64
#define MAN_MAX ((size_t)1 << 20)
#define HELP_COLUMN 26

struct parse {
    const struct kp_command *command;
    void *options;
    int argc;
    char **argv;
    int next;
    char **positional;
    int positionals;
    bool help;
};

static const struct kp_option *find_option(const struct kp_command *command, const char *name,
                                           size_t len, char letter)
{
    for (const struct kp_option *o = command->options; o && o->name; o++) {
        bool same = len && strlen(o->name) == len && memcmp(o->name, name, len) == 0;
        if (same || (letter && o->letter == letter))
            return o;
    }
    return NULL;
}

static int complain_unknown(const struct kp_command *command, const char *word, struct kp_err *err)
{
    const char *names[OPTIONS_MAX];
    size_t n = 0;
    for (const struct kp_option *o = command->options; o && o->name && n < OPTIONS_MAX; o++)
        names[n++] = o->name;
    kp_auto_free char *name = kp_strndup(word + 2, strcspn(word + 2, "="));
    const char *near = word[1] == '-' ? kp_nearest(name, names, n) : NULL;
    kp_fail(err, KP_USAGE, "unknown option %s", word);
    if (near)
        return kp_hint(err, "did you mean --%s?", near);
    return kp_hint(err, "see --help");
}

static int store_value(const struct kp_option *o, void *options, const char *value,
                       struct kp_err *err)
{
    void *at = (char *)options + o->offset;
    struct kp_text_list *list = at;
    uint64_t max = o->max ? o->max : UINT64_MAX;
    switch (o->type) {
    case KP_OPT_FLAG:
        *(bool *)at = true;
        return 0;
    case KP_OPT_TEXT:
        if (!value[0])
            return kp_fail(err, KP_USAGE, "--%s: a value is needed", o->name);
        *(const char **)at = value;
        return 0;
    case KP_OPT_MAYBE:
        *(const char **)at = value;
        return 0;
    case KP_OPT_LIST:
        if (list->count == KP_LIST_MAX)
            return kp_fail(err, KP_USAGE, "--%s: given more than %d times", o->name, KP_LIST_MAX);
        list->items[list->count++] = value;
        return 0;
    case KP_OPT_NUMBER:
        if (!kp_parse_u64(kp_slice_of(value), max, at))
            return kp_fail(err, KP_USAGE, "--%s %s: a whole number%s is needed", o->name, value,
                           o->max ? " within its range" : "");
        return 0;
    case KP_OPT_SIZE:
        if (!kp_parse_size(kp_slice_of(value), at) || *(uint64_t *)at > max)
            return kp_fail(err, KP_USAGE, "--%s %s: a size like 64MiB or 1.5GB is needed", o->name,
                           value);
        return 0;
    }
    return 0;
}

static int take_option(struct parse *p, const char *word, struct kp_err *err)
{
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct kp_option *o =
        find_option(p->command, name, is_long ? len : 0, is_long ? '\0' : name[0]);
    if (!o || (!is_long && name[1]))
        return complain_unknown(p->command, word, err);
    if (o->type == KP_OPT_FLAG) {
        if (equals)
            return kp_fail(err, KP_USAGE, "--%s takes no value", o->name);
        return store_value(o, p->options, "", err);
    }
    bool stands_alone = !equals && (p->next >= p->argc || p->argv[p->next][0] == '-');
    if (o->type == KP_OPT_MAYBE && stands_alone)
        return store_value(o, p->options, "", err);
    if (!equals && p->next >= p->argc)
        return kp_fail(err, KP_USAGE, "--%s: a value is needed (%s)", o->name, o->value);
    return store_value(o, p->options, equals ? equals + 1 : p->argv[p->next++], err);
}

static int parse_words(struct parse *p, struct kp_err *err)
{
    bool only_words = false;
    while (p->next < p->argc) {
        char *word = p->argv[p->next++];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        }
        if (!only_words && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            p->help = true;
            return 0;
        }
        if (only_words || word[0] != '-' || !word[1])
            p->positional[p->positionals++] = word;
        else if (take_option(p, word, err) < 0)
            return -1;
    }
    if ((size_t)p->positionals < p->command->least)
        return kp_fail(err, KP_USAGE, "%s is missing", p->command->arguments);
    if ((size_t)p->positionals > p->command->most)
        return kp_fail(err, KP_USAGE, "unexpected argument: %s", p->positional[p->command->most]);
    return 0;
}

static void print_option(FILE *out, const struct kp_option *o)
{
    char left[128];
    int n = snprintf(left, sizeof(left), "  %s%c%s --%s%s%s", o->letter ? "-" : " ",
                     o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                     o->value ? " " : "", o->value ? o->value : "");
    if (n > HELP_COLUMN)
        fprintf(out, "%s\n%*s  %s\n", left, HELP_COLUMN, "", o->help);
    else
        fprintf(out, "%-*s  %s\n", HELP_COLUMN, left, o->help);
}

static void print_command_help(FILE *out, const struct kp_program *program,
                               const struct kp_command *command)
{
    fprintf(out, "usage: %s%s%s%s%s%s\n\n%s\n", program->name, command->name[0] ? " " : "",
            command->name, command->options ? " [options]" : "", command->arguments[0] ? " " : "",
            command->arguments, command->summary);
    if (command->details)
        fprintf(out, "\n%s\n", command->details);
    if (command->options)
        fputs("\noptions:\n", out);
    for (const struct kp_option *o = command->options; o && o->name; o++)
        print_option(out, o);
}

static const struct kp_command *find_command(const struct kp_program *program, const char *name)
{
    for (const struct kp_command *c = program->commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static void print_help(FILE *out, const struct kp_program *program)
{
    const struct kp_command *main_command = find_command(program, "");
    fprintf(out, "%s - %s\n\n", program->name, program->summary);
    if (main_command)
        print_command_help(out, program, main_command);
    if (program->commands[0].name && (!main_command || program->commands[1].name))
        fprintf(out, "%scommands:\n", main_command ? "\n" : "");
    for (const struct kp_command *c = program->commands; c->name; c++)
        if (c->name[0])
            fprintf(out, "  %-12s %s\n", c->name, c->summary);
    if (program->epilogue)
        fprintf(out, "\n%s\n", program->epilogue);
}

static void print_completion(FILE *out, const struct kp_program *program)
{
    fprintf(out, "# bash completion for %s\n_%s() {\n    local cur=${COMP_WORDS[COMP_CWORD]}\n",
            program->name, program->name);
    fputs("    case ${COMP_WORDS[1]} in\n", out);
    for (const struct kp_command *c = program->commands; c->name; c++) {
        fprintf(out, "    %s) words=\"", c->name[0] ? c->name : "-*");
        for (const struct kp_option *o = c->options; o && o->name; o++)
            fprintf(out, "--%s ", o->name);
        fputs("--help\" ;;\n", out);
    }
    fputs("    *) words=\"", out);
    for (const struct kp_command *c = program->commands; c->name; c++)
        if (c->name[0])
            fprintf(out, "%s ", c->name);
    fprintf(
        out,
        "--help --version\" ;;\n    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -f "
        "-- \"$cur\")\n}\ncomplete -F _%s %s\n",
        program->name, program->name);
}

static bool wants_json(const struct kp_command *command, const void *options)
{
    const struct kp_option *o = find_option(command, "json", 4, '\0');
    return o && options && *(const bool *)((const char *)options + o->offset);
}

/* Of a command line that was not understood: it may stand behind what is wrong. */
static bool asks_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static int report(const struct kp_program *program, struct kp_err *err, bool json)
{
    fflush(stdout);
    if (json && !err->reported) {
        kp_auto_json value = json_object();
        kp_json_end(value, -1, err);
    } else if (!json) {
        fprintf(stderr, "%s%s: %s%s\n", kp_colour_on(stderr, KP_RED), program->name, err->message,
                kp_colour_off(stderr));
        if (err->hint[0])
            fprintf(stderr, "%*s%s\n", (int)strlen(program->name) + 2, "", err->hint);
    }
    return err->code ? (int)err->code : (int)KP_FAILED;
}

static int run_command(const struct kp_program *program, const struct kp_command *command, int argc,
                       char **argv)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free void *options = kp_alloc(command->size ? command->size : 1);
    kp_auto_free char **positional = kp_alloc_array((size_t)argc + 1, sizeof(char *));
    struct parse p = {command, options, argc, argv, 0, positional, 0, false};
    if (parse_words(&p, &err) < 0)
        return report(program, &err,
                      find_option(command, "json", 4, '\0') && asks_json(argc + 1, argv - 1));
    if (p.help) {
        print_command_help(stdout, program, command);
        return 0;
    }
    if (command->run(options, p.positionals, positional, &err) < 0)
        return report(program, &err, wants_json(command, options));
    if (fflush(stdout) != 0 && kp_fail(&err, KP_FAILED, "cannot write to standard output") < 0)
        return report(program, &err, false);
    return 0;
}

static int unknown_command(const struct kp_program *program, const char *word, bool json)
{
    struct kp_err err = KP_ERR_INIT;
    const char *names[COMMANDS_MAX];
    size_t n = 0;
    for (const struct kp_command *c = program->commands; c->name && n < COMMANDS_MAX; c++)
        names[n++] = c->name;
    const char *near = kp_nearest(word, names, n);
    kp_fail(&err, KP_USAGE, "unknown command %s", word);
    kp_hint(&err, near && near[0] ? "did you mean %s %s?" : "see %s --help", program->name, near);
    return report(program, &err, json);
}

int kp_cli_main(const struct kp_program *program, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct kp_command *main_command = find_command(program, "");
    if (strcmp(word, "--version") == 0) {
        printf("%s %s\n", program->name, KP_VERSION);
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
        (strcmp(word, "help") == 0 && argc < 3)) {
        print_help(stdout, program);
        return 0;
    }
    if (strcmp(word, "completion") == 0) {
        print_completion(stdout, program);
        return 0;
    }
    if (strcmp(word, "man") == 0) { // for the build: docs.cmake makes the man pages of it
        kp_auto_free char *page = kp_cli_man(program);
        fputs(page, stdout);
        return 0;
    }
    bool help = strcmp(word, "help") == 0;
    const struct kp_command *command = word[0] ? find_command(program, argv[help ? 2 : 1]) : NULL;
    if (help && command) {
        print_command_help(stdout, program, command);
        return 0;
    }
    if (command)
        return run_command(program, command, argc - 2, argv + 2);
    if (main_command && (word[0] == '-' || !word[0] || main_command->most))
        return run_command(program, main_command, argc - 1, argv + 1);
    if (word[0])
        return unknown_command(program, argv[help ? 2 : 1], asks_json(argc, argv));
    print_help(stderr, program);
    return KP_USAGE;
}

static void man_text(struct kp_buf *out, const char *text)
{
    for (bool start = true; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            kp_buf_adds(out, "\\&");
        if (*text == '-' || *text == '\\')
            kp_buf_adds(out, "\\");
        kp_buf_add(out, text, 1);
        start = *text == '\n';
    }
}

static void man_option(struct kp_buf *out, const struct kp_option *o)
{
    kp_buf_adds(out, ".TP\n\\fB");
    if (o->letter)
        kp_buf_addf(out, "\\-%c\\fR, \\fB", o->letter);
    kp_buf_adds(out, "\\-\\-");
    man_text(out, o->name);
    kp_buf_addf(out, "\\fR \\fI%s\\fR\n", o->value ? o->value : "");
    man_text(out, o->help);
    kp_buf_adds(out, "\n");
}

static void man_command(struct kp_buf *out, const struct kp_program *program,
                        const struct kp_command *c)
{
    kp_buf_addf(out, ".SS \"%s%s%s %s\"\n", program->name, c->name[0] ? " " : "", c->name,
                c->arguments);
    man_text(out, c->summary);
    kp_buf_adds(out, "\n");
    if (c->details) {
        kp_buf_adds(out, ".PP\n");
        man_text(out, c->details);
        kp_buf_adds(out, "\n");
    }
    for (const struct kp_option *o = c->options; o && o->name; o++)
        man_option(out, o);
}

char *kp_cli_man(const struct kp_program *program)
{
    kp_auto_value(kp_buf) out = KP_BUF(MAN_MAX);
    kp_buf_addf(&out, ".TH %s 1 \"\" \"kpack %s\" \"kpack\"\n.SH NAME\n%s \\- ", program->name,
                KP_VERSION, program->name);
    man_text(&out, program->summary);
    kp_buf_addf(&out, "\n.SH SYNOPSIS\n.B %s\n[\\fICOMMAND\\fR] [\\fIoptions\\fR]\n.SH COMMANDS\n",
                program->name);
    for (const struct kp_command *c = program->commands; c->name; c++)
        man_command(&out, program, c);
    if (program->epilogue) {
        kp_buf_adds(&out, ".SH NOTES\n");
        man_text(&out, program->epilogue);
        kp_buf_adds(&out, "\n");
    }
    return kp_buf_steal(&out);
}
