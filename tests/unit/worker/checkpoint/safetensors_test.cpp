#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <rtrain/safetensors.h>

#include <torch/torch.h>

#include <cstring>
#include <fstream>
#include <random>

namespace safetensors_test {

using namespace rtrain;
namespace fs = std::filesystem;
using Catch::Matchers::Contains;

namespace {

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string file_of(const std::string& header, const std::string& data) {
  std::string text(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(text.data(), &size, 8);
  return text + header + data;
}

SafeTensors sample() {
  SafeTensors content;
  for (const auto type : {torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kLong,
                          torch::kInt, torch::kShort, torch::kChar, torch::kByte}) {
    content.tensors.emplace(std::string("of ") + c10::toString(type), torch::arange(5).to(type));
  }
  // PyTorch has few operators for these: their bytes are compared.
  for (const auto type :
       {torch::kUInt16, torch::kUInt32, torch::kUInt64, torch::kFloat8_e4m3fn, torch::kFloat8_e5m2})
    content.tensors.emplace(std::string("of ") + c10::toString(type), torch::arange(5).to(type));
  content.tensors.emplace("flags", torch::tensor({true, false, true}));
  content.tensors.emplace("a scalar", torch::tensor(3.5));
  content.tensors.emplace("none", torch::zeros({0, 7}));
  content.tensors.emplace("turned", torch::arange(6).view({2, 3}).t());
  content.tensors.emplace("größe/ünïcode \"quoted\"", torch::ones({2, 1, 2}));
  content.metadata = {{"format", "pt"}, {"epoch", "3"}};
  return content;
}

void check_equal(const SafeTensors& a, const SafeTensors& b) {
  CHECK(a.metadata == b.metadata);
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    INFO(name);
    REQUIRE(b.tensors.contains(name));
    const auto& other = b.tensors.at(name);
    CHECK(tensor.scalar_type() == other.scalar_type());
    CHECK(tensor.sizes() == other.sizes());
    const auto bytes = [](const torch::Tensor& t) { return t.contiguous().view(-1).view(torch::kByte); };
    CHECK((torch::equal(bytes(tensor), bytes(other))));
  }
}

}  // namespace

TEST_CASE("safetensors: what is saved is what is loaded, of every type", "[unit][worker][checkpoint]") {
  const test::TempDir dir;
  const auto path = dir / "model.safetensors";
  save_safetensors(path, sample());
  check_equal(sample(), load_safetensors(path));
  save_safetensors(path, {});
  check_equal({}, load_safetensors(path));
  // nothing left beside
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("safetensors: the header is padded so that every tensor is aligned to its type",
          "[unit][worker][checkpoint]") {
  const test::TempDir dir;
  save_safetensors(dir / "f", sample());
  std::uint64_t header = 0;
  const auto text = read(dir / "f");
  std::memcpy(&header, text.data(), 8);
  CHECK(header % 8 == 0);
  CHECK(text[8] == '{');
  for (const auto& [name, tensor] : load_safetensors(dir / "f").tensors) CHECK(tensor.is_contiguous());
}

TEST_CASE("safetensors: a failed save leaves the old file and nothing else", "[unit][worker][checkpoint]") {
  const test::TempDir dir;
  const auto path = dir / "model.safetensors";
  save_safetensors(path, {{{"w", torch::ones({2})}}, {}});
  const auto before = read(path);
  CHECK_THROWS_WITH(save_safetensors(path, {{{"w", torch::ones({2}, torch::kComplexHalf)}}, {}}),
                    Contains("\"w\"") && Contains("ComplexHalf") && Contains(path.string()));
  CHECK_THROWS_WITH(save_safetensors(path, {{{"w", torch::Tensor()}}, {}}), Contains("undefined"));
  CHECK_THROWS_WITH(save_safetensors(path, {{{"__metadata__", torch::ones({2})}}, {}}),
                    Contains("__metadata__"));
  CHECK_THROWS_WITH(save_safetensors(path, {{{"\xff\xfe", torch::ones({2})}}, {}}), Contains("UTF-8"));
  CHECK(read(path) == before);
  CHECK_THROWS_WITH(save_safetensors(dir / "no/such/folder/x", {}), Contains("No such file or directory"));
  if (fs::exists("/dev/full")) {
    fs::create_directory(dir / "d");
    CHECK_THROWS_WITH(save_safetensors(dir / "d", {{{"w", torch::ones({2})}}, {}}),
                      Contains("could not rename"));
  }
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 2);
}

TEST_CASE("safetensors: what the format forbids is refused with its fault", "[unit][worker][checkpoint]") {
  const test::TempDir dir;
  const auto path = dir / "f";
  const auto refuse = [&](const std::string& content, const std::string& fault) {
    INFO(fault);
    write(path, content);
    CHECK_THROWS_WITH(load_safetensors(path), Contains(fault) && Contains(path.string()));
  };
  const auto of = [](const std::string& entry, const std::string& data = std::string(8, '\0')) {
    return file_of(entry, data);
  };

  refuse("", "too short");
  refuse("1234567", "too short");
  refuse(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + "{}", "claims a header");
  refuse(std::string("\x00\xe1\xf5\x05\x00\x00\x00\x00", 8) + "{}", "ends within its header");
  refuse(of("[]", ""), "expected a JSON object");
  refuse(of(" {}", ""), "expected a JSON object");
  refuse(of("{", ""), "broken header");
  refuse(of("{} x", ""), "broken header");
  refuse(of("{\"a\xff\":1}", ""), "broken header");
  refuse(of(R"({"a":{"b":{"c":{"d":{"e":1}}}}})", ""), "nested too deeply");
  refuse(of("{\"a\":" + std::string(100'000, '['), ""), "nested too deeply");
  refuse(
      of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"),
      "\"a\" twice");
  refuse(of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})"), "\"dtype\" twice");
  refuse(of(R"({"a":3})"), "expected an object of dtype");
  refuse(of(R"({"a":{"dtype":"F32","shape":[2]}})"), "expected an object of dtype");
  refuse(of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})"),
         "expected an object of dtype");
  refuse(of(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})"), "unknown dtype \"F31\"");
  refuse(of(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})"), "unknown dtype 7");
  refuse(of(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})"), "shape is not an array");
  refuse(of(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})"), "found -2");
  refuse(of(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})"), "found 2.0");
  refuse(of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})"), "data_offsets is not a pair");
  refuse(of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})"), "do not fit");
  refuse(of(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})"), "(12 bytes)");
  refuse(of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})"), "too large");
  refuse(of(R"({"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}})", ""),
         "too large");
  refuse(of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"), "(a hole)");
  refuse(
      of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"),
      "overlaps");
  refuse(of(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})"), "ends too early");
  refuse(of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"), "the file has 8");
  refuse(of(R"({"a":{"dtype":"BOOL","shape":[8],"data_offsets":[0,8]}})", std::string("\0\1\0\2\0\0\0\0", 8)),
         "neither 0 nor 1");
  refuse(of(R"({"__metadata__":3})", ""), "__metadata__ is not an object");
  refuse(of(R"({"__metadata__":{"a":3}})", ""), "\"a\" is not a string");
  CHECK_THROWS_WITH(load_safetensors(dir / "absent"), Contains("No such file"));
  CHECK_THROWS_WITH(load_safetensors(dir.path()), Contains("not a regular file"));
  write(path, of(R"({"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}   )", ""));
  CHECK(load_safetensors(path).tensors.at("a").sizes() == at::IntArrayRef({0, 3}));
}

TEST_CASE("safetensors: every cut and any flipped bit is refused or gives tensors of the promised size",
          "[unit][worker][checkpoint]") {
  const test::TempDir dir;
  const auto path = dir / "f";
  SafeTensors content;
  content.tensors = {
      {"a", torch::arange(4)}, {"b", torch::ones({2, 3})}, {"c", torch::tensor({true, false})}};
  content.metadata = {{"k", "v"}};
  save_safetensors(path, content);
  const auto whole = read(path);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write(path, whole.substr(0, size));
    CHECK_THROWS_AS(load_safetensors(path), std::runtime_error);
  }
  const auto survives = [&](const std::string& text) {
    write(path, text);
    try {
      const auto loaded = load_safetensors(path);
      std::size_t bytes = 0;
      for (const auto& [name, tensor] : loaded.tensors) bytes += tensor.nbytes();
      CHECK(bytes <= text.size());
    } catch (const std::runtime_error&) {
    }
  };
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    auto text = whole;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
    survives(text);
  }
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    auto text = whole;
    for (int changes = 0; changes < 4; ++changes) text[random() % text.size()] = static_cast<char>(random());
    survives(text);
  }
}

}  // namespace safetensors_test
