/* Files of any bytes from standard input, each behind its size as a little-endian word; a size of 0 is an empty file. */
#ifndef FILES_H
#define FILES_H

#include <stdio.h>
#include <stdlib.h>

/* The next file, at an odd address and with nothing behind it that may be read; null at the end. */
static unsigned char *next_file(unsigned char **memory, size_t *size) {
    unsigned char word[4];
    if (fread(word, 1, sizeof word, stdin) != sizeof word)
        return NULL;
    *size = word[0] | (size_t)word[1] << 8 | (size_t)word[2] << 16 | (size_t)word[3] << 24;
    *memory = malloc(*size + 1);
    if (*memory && fread(*memory + 1, 1, *size, stdin) == *size)
        return *memory + 1;
    free(*memory);
    return NULL;
}

#endif
