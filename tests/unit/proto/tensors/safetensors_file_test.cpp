#include "proto/tensors/safetensors_file.h"

#include "tests/support/tensor_files.h"

namespace safetensors_file_test {

using namespace rtrain;
using namespace rtrain::tensors;
using Catch::Matchers::Contains;

TEST_CASE("safetensors_file: what is written is read", "[unit][proto]") {
  const test::TempDir dir;
  auto turned = test::make_tensor<float>(dir, "turned", "F32", {2, 3}, {0, 1, 2, 3, 4, 5});
  turned.shape = {3, 2};
  turned.strides = {1, 3};
  const std::vector<Tensor> given{test::make_tensor<std::uint8_t>(dir, "flags", "BOOL", {3}, {1, 0, 1}),
                                  turned, test::make_tensor<std::int64_t>(dir, "steps", "I64", {}, {7}),
                                  test::make_tensor<float>(dir, "none", "F32", {0}, {})};
  const auto path = (dir / "m.safetensors").string();
  REQUIRE(write_safetensors(path, given, {{"format", "pt"}}).has_value());
  const auto file = open_safetensors(path);
  REQUIRE(file.has_value());
  CHECK(file->metadata.at("format") == "pt");
  REQUIRE(file->tensors.size() == 4);
  for (const auto& tensor : file->tensors) {
    INFO(tensor.name);
    const auto same = std::ranges::find(given, tensor.name, &Tensor::name);
    REQUIRE(same != given.end());
    CHECK(tensor.shape == same->shape);
    CHECK(tensor.dtype == same->dtype);
    CHECK(tensor.storage % tensor.dtype->bytes == 0);
    CHECK(test::numbers_of(tensor) == test::numbers_of(*same));
  }
}

TEST_CASE("safetensors_file: what the format cannot hold, and what is no such file", "[unit][proto]") {
  const test::TempDir dir;
  const auto path = (dir / "m").string();
  auto tensor = test::make_tensor<float>(dir, "w", "F32", {2}, {1, 2});
  CHECK_THAT(write_safetensors(path, {tensor, tensor}, {}).error().message(),
             Contains("two tensors are named \"w\""));
  tensor.dtype = find_torch_dtype("complex128");
  tensor.shape = tensor.strides = {1};
  CHECK_THAT(write_safetensors(path, {tensor}, {}).error().message(), Contains("\"w\" is complex128"));
  CHECK_FALSE(std::filesystem::exists(path));
  const auto refuse = [&](const std::string& bytes, const std::string& fault) {
    test::write_bytes(path, bytes);
    CHECK_THAT(open_safetensors(path).error().message(), Contains(fault) && Contains(path));
  };
  refuse("1234567", "too short");
  refuse(std::string(8, '\xff'), "claims a header");
  refuse(std::string("\x09\0\0\0\0\0\0\0{}", 10), "ends within its header");
  refuse(std::string("\x02\0\0\0\0\0\0\0{}x", 11), "the file has 1");
}

}  // namespace safetensors_file_test
