#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Gives the number in a line such as "width = 80". */
long setting(const char *line) {
    /* Without a '=' there is nothing to read after it. */
    const char *text = strchr(line, '=') + 1;
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text) {
        fprintf(stderr, "setting: no number in \"%s\"\n", line);
        abort();
    }
    return number;
}
