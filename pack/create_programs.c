/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/programs.h"
#include "pack/create_screen.h"

static bool is_carried(const struct kp_plan *plan, const char *program)
{
    for (size_t i = 0; i < plan->file_count; i++)
        for (size_t k = 0; k < plan->files[i].install_count; k++)
            if (strcmp(plan->files[i].installs[k].name, program) == 0)
                return true;
    return false;
}

/* A carried package of that family's kind brings it. */
static bool is_brought(const struct kp_plan *plan, const char *program, enum kp_family family)
{
    const char *ending = family == KP_FAMILY_DEBIAN ? ".deb" : ".rpm";
    for (size_t i = 0; i < plan->file_count; i++) {
        const char **one = plan->files[i].programs;
        for (; one && *one && kp_ends_with(plan->files[i].component, ending); one++)
            if (strcmp(*one, program) == 0)
                return true;
    }
    return false;
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words; p && (p = strstr(p, word)); p += len)
        if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
            return true;
    return false;
}

void kp_plan_programs(const struct kp_plan *plan, void (*line)(void *user, const char *text),
                      void *user)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    for (int f = 0; f < KP_FAMILIES; f++) {
        const char *packages = "";
        for (size_t i = 0; plan->programs[i]; i++) {
            const char *package = kp_program_package(plan->programs[i], (enum kp_family)f);
            if (is_carried(plan, plan->programs[i]) ||
                is_brought(plan, plan->programs[i], (enum kp_family)f) ||
                has_word(packages, package))
                continue;
            packages = kp_arena_printf(arena, "%s%s%s", packages, *packages ? " " : "", package);
        }
        if (*packages)
            line(user,
                 kp_arena_printf(arena, "%-18s %s", kp_family_text((enum kp_family)f), packages));
    }
}
