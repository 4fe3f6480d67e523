// Takes up a session that a Python process has left, in C++17.
//
//     python make_snapshot.py out       # weights, fingerprint, snapshot, and what comes next
//     c++ -std=c++17 restore.cpp $(pkg-config --cflags --libs lstm_fast) -o restore
//     ./restore out
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <lstm_fast.h>

namespace {

void check(lf_status status) {
    if (status != LF_OK) {
        std::fprintf(stderr, "lstm_fast: %s\n", lf_status_text(status));
        std::exit(1);
    }
}

std::vector<char> bytes_of(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "cannot open %s\n", path.c_str());
        std::exit(1);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> floats_of(const std::string &path) {
    const std::vector<char> bytes = bytes_of(path);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
}

struct ModelDeleter {
    void operator()(lf_model *model) const { lf_model_destroy(model); }
};
struct StreamDeleter {
    void operator()(lf_stream *stream) const { lf_stream_destroy(stream); }
};

} // namespace

int main(int count, char **arguments) {
    constexpr std::size_t I = 5, H = 19;
    const std::string folder = count > 1 ? arguments[1] : "out";
    const auto weight_ih = floats_of(folder + "/weight_ih_l0.f32");
    const auto weight_hh = floats_of(folder + "/weight_hh_l0.f32");
    const auto bias_ih = floats_of(folder + "/bias_ih_l0.f32");
    const auto bias_hh = floats_of(folder + "/bias_hh_l0.f32");
    const auto fingerprint = bytes_of(folder + "/fingerprint.bin");
    lf_layer_weights layer{};
    layer.weight_ih = weight_ih.data();
    layer.weight_hh = weight_hh.data();
    layer.bias_ih = bias_ih.data();
    layer.bias_hh = bias_hh.data();

    lf_model *made = nullptr;
    check(lf_model_create(I, H, 0, 1, &layer, LF_FLOAT32, nullptr,
                          reinterpret_cast<const unsigned char *>(fingerprint.data()), &made));
    const std::unique_ptr<lf_model, ModelDeleter> model(made);
    lf_stream *opened = nullptr;
    check(lf_stream_create(model.get(), &opened));
    const std::unique_ptr<lf_stream, StreamDeleter> stream(opened);

    const auto snapshot = bytes_of(folder + "/session.snapshot");
    check(lf_stream_restore(stream.get(), snapshot.data(), snapshot.size()));
    const auto xs = floats_of(folder + "/xs.f32"), expected = floats_of(folder + "/ys.f32");
    std::vector<float> ys(expected.size());
    check(lf_stream_run_f32(stream.get(), xs.data(), xs.size() / I, ys.data()));
    if (std::memcmp(ys.data(), expected.data(), ys.size() * sizeof(float)) != 0) {
        std::fprintf(stderr, "other bits than in Python\n");
        return 1;
    }
    std::vector<char> left(lf_snapshot_bytes(model.get()));
    check(lf_stream_snapshot(stream.get(), left.data(), left.size()));
    if (left != bytes_of(folder + "/after.snapshot")) {
        std::fprintf(stderr, "another snapshot than in Python\n");
        return 1;
    }
    std::printf("%zu frames after a snapshot from Python: the same bits\n", xs.size() / I);
    return 0;
}
