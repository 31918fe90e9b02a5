/* SPDX-License-Identifier: Apache-2.0 */
#include "install/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX 128

int kp_confirm(bool yes, const char *what, const char *kind, const char *word, struct kp_err *err)
{
    char answer[ANSWER_MAX] = "";
    if (yes)
        return 0;
    if (!isatty(STDIN_FILENO))
        return kp_fail(err, KP_USAGE, "%s; give --yes where nobody can be asked", what);
    fprintf(stderr, "%s\nType %s (%s) to go on: ", what, kind, word);
    if (!fgets(answer, sizeof(answer), stdin))
        answer[0] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    if (strcmp(answer, word) != 0)
        return kp_fail(err, KP_FAILED, "not confirmed; nothing was changed");
    return 0;
}
