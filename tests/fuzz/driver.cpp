// Runs a fuzz target without libFuzzer: each file of a corpus, then mutations of them from a seed. The same
// arguments give the same inputs.
//
//   fuzz_json CORPUS [--runs N] [--seconds S] [--seed N] [--bytes-max N]     until N inputs or S seconds; neither: 20,000 inputs
//   fuzz_json FILE                                                          one input again
//
// When an input ends the program, it lies in a file in the current folder, whose name is printed.
#include "tests/fuzz/fuzz.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace {

std::string input;     // the one that runs
std::string crash_at;  // where it goes when it ends the program

extern "C" void keep_input(int signal) {
  const int fd = ::open(crash_at.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0 && ::write(fd, input.data(), input.size()) < 0) ::_exit(3);
  const char* parts[] = {"the input that did it: ", crash_at.c_str(), "\n"};
  for (const char* part : parts)
    if (::write(STDERR_FILENO, part, std::string_view(part).size()) < 0) ::_exit(3);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void run(std::string text) {
  input = std::move(text);
  // A copy of exactly that size: a sanitizer sees a read beyond its end.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

/// Blind, but with the pieces that the corpus is made of.
class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, std::uint64_t seed, std::size_t bytes_max)
      : corpus_(corpus), random_(seed), bytes_max_(bytes_max) {}

  std::string next() {
    std::string text = corpus_[below(corpus_.size())];
    for (std::size_t n = 1 + below(4); n > 0; --n) mutate(text);
    if (text.size() > bytes_max_) text.resize(bytes_max_);
    return text;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

  void mutate(std::string& text) {
    static constexpr std::array<std::string_view, 28> kPieces{"nan",
                                                              "inf",
                                                              "-1",
                                                              "0",
                                                              "1e999",
                                                              "9223372036854775807",
                                                              "18446744073709551616",
                                                              "4294967297",
                                                              "null",
                                                              "true",
                                                              "{}",
                                                              "[]",
                                                              "\"\"",
                                                              "\\u0000",
                                                              "\\ud800",
                                                              std::string_view("\0", 1),
                                                              "\xff",
                                                              "\xe2\x82",
                                                              "Infinity",
                                                              ":",
                                                              ",",
                                                              "-",
                                                              "%00",
                                                              "/",
                                                              "..",
                                                              "{\"a\":",
                                                              "[[[[[[[[",
                                                              "2026-02-30T25:61:61Z"};
    const auto at = below(text.size() + 1);
    switch (below(9)) {
      case 0:
        if (!text.empty()) text[below(text.size())] = static_cast<char>(random_());
        break;
      case 1:
        if (!text.empty()) text[below(text.size())] ^= static_cast<char>(1u << below(8));
        break;
      case 2: text.erase(at, 1 + below(16)); break;
      case 3: text.insert(at, 1 + below(4), static_cast<char>(random_())); break;
      case 4: text.insert(at, kPieces[below(kPieces.size())]); break;
      case 5: text.insert(at, text.substr(below(text.size() + 1), below(64))); break;
      case 6: {  // a piece of another file
        const auto& other = corpus_[below(corpus_.size())];
        text.insert(at, other.substr(below(other.size() + 1), below(128)));
        break;
      }
      case 7: {  // a number becomes another one
        const auto digit = text.find_first_of("0123456789", at);
        if (digit == std::string::npos) break;
        const auto end = std::min(text.find_first_not_of("0123456789", digit), text.size());
        text.replace(digit, end - digit, std::string(kPieces[below(8)]));
        break;
      }
      default: {  // a word in quotes becomes another one
        const auto quote = text.find('"', at);
        const auto end = quote == std::string::npos ? quote : text.find('"', quote + 1);
        if (end != std::string::npos)
          text.replace(quote + 1, end - quote - 1, std::string(kPieces[below(kPieces.size())]));
      }
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_;
  std::size_t bytes_max_;
};

std::uint64_t number_after(const std::vector<std::string>& args, const std::string& name,
                           std::uint64_t fallback) {
  const auto found = std::find(args.begin(), args.end(), name);
  return found == args.end() || found + 1 == args.end() ? fallback : std::stoull(*(found + 1));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.empty() || !fs::exists(args[0])) {
    std::fprintf(stderr, "usage: %s CORPUS|FILE [--runs N] [--seconds S] [--seed N] [--bytes-max N]\n",
                 argv[0]);
    return 2;
  }
  crash_at = "crash-" + fs::path(argv[0]).filename().string() + "-" + std::to_string(::getpid());
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGBUS}) ::signal(signal, keep_input);
  std::vector<fs::path> files;
  if (fs::is_directory(args[0])) {
    for (const auto& entry : fs::directory_iterator(args[0])) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(args[0]);
  }
  std::vector<std::string> corpus;
  for (const auto& file : files) run(corpus.emplace_back(read(file)));
  std::uint64_t inputs = corpus.size();
  if (fs::is_directory(args[0])) {
    if (corpus.empty()) return std::fprintf(stderr, "%s holds no file\n", args[0].c_str()), 2;
    const auto seconds = number_after(args, "--seconds", 0);
    const auto runs = number_after(args, "--runs", seconds == 0 ? 20'000 : UINT64_MAX);
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::seconds(seconds == 0 ? 3600 * 24 : seconds);
    Mutator mutator(corpus, number_after(args, "--seed", 1), number_after(args, "--bytes-max", 1 << 16));
    for (; inputs < runs && (inputs % 64 != 0 || std::chrono::steady_clock::now() < until); ++inputs)
      run(mutator.next());
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(inputs));
  return 0;
}
