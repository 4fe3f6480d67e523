/*
 * Prints for each chunk of a recording how likely it is that somebody speaks in it, with Silero VAD.
 *
 *     cc vad.c $(pkg-config --cflags --libs lstm_fast) -o vad
 *     lstm-fast convert silero_vad.onnx vad.lfm --shape input=1,576 --constant sr=16000 --history input=64
 *     ./vad vad.lfm recording.wav
 *
 * A recording is 16-bit mono at 16 kHz: a .wav with the usual header, or samples alone (s16le).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lstm_fast.h>

enum { CHUNK = 512, HEADER = 44, LARGEST_MODEL = 1 << 26 };

/* What follows RIFF and two sizes: PCM, mono, 16000 Hz, 32000 bytes a second, 2 bytes a sample, 16 bits. */
static const unsigned char FORMAT[] = "WAVEfmt \20\0\0\0\1\0\1\0\200>\0\0\0}\0\0\2\0\20\0data";

static void check(int is_good, const char *what, const char *why) {
    if (!is_good) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
    }
}

static void check_status(lf_status status, const char *what) {
    check(status == LF_OK, what, lf_status_text(status));
}

static lf_model *load_model(const char *path) {
    FILE *file = fopen(path, "rb");
    check(file != NULL, path, "cannot be opened");
    void *bytes = malloc(LARGEST_MODEL);
    check(bytes != NULL, path, "no memory");
    size_t size = fread(bytes, 1, LARGEST_MODEL, file);
    lf_model *model;
    check_status(lf_model_load(bytes, size, NULL, &model), path);
    free(bytes);
    fclose(file);
    check(lf_model_input_count(model) == 1 && lf_model_output_count(model) == 1 &&
              lf_model_input(model, 0)->bytes == CHUNK * sizeof(float) &&
              lf_model_output(model, 0)->bytes == sizeof(float),
          path, "does not make one probability of 512 samples");
    return model;
}

/* Leaves a file at its first sample. */
static FILE *open_recording(const char *path) {
    FILE *file = fopen(path, "rb");
    check(file != NULL, path, "cannot be opened");
    unsigned char header[HEADER] = {0};
    if (fread(header, 1, HEADER, file) < HEADER || memcmp(header, "RIFF", 4) != 0)
        rewind(file);
    else
        check(memcmp(header + 8, FORMAT, HEADER - 8 - 4) == 0, path,
              "is no plain .wav of 16 bits, mono, 16 kHz");
    return file;
}

int main(int count, char **arguments) {
    check(count == 3, "vad", "expected a model (.lfm) and a recording");
    lf_model *model = load_model(arguments[1]);
    FILE *recording = open_recording(arguments[2]);
    lf_stream *stream;
    check_status(lf_stream_create(model, &stream), "vad");

    unsigned char bytes[2 * CHUNK] = {0};
    for (int n = 0; fread(bytes, 2, CHUNK, recording) > 0; n++) {
        float chunk[CHUNK], probability;
        for (int k = 0; k < CHUNK;
             k++) { /* little-endian; the last chunk is filled up with zeros */
            int sample = bytes[2 * k] | bytes[2 * k + 1] << 8;
            chunk[k] = (float)(sample < 32768 ? sample : sample - 65536) / 32768;
        }
        check_status(lf_stream_step_f32(stream, chunk, &probability), "vad");
        printf("%7.3f s  %.6f\n", n * CHUNK / 16000.0, (double)probability);
        memset(bytes, 0, sizeof bytes);
    }
    fclose(recording);
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    return 0;
}
