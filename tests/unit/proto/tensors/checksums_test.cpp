#include "proto/tensors/checksums.h"

#include "tests/support/tensor_files.h"

using namespace rtrain;
using namespace rtrain::tensors;

TEST_CASE("checksums: what is written is read, and is that of the files", "[unit][proto]") {
  const test::TempDir dir;
  CHECK(read_checksums(dir.path().string()).error().code() == Errc::kNotFound);
  test::write_bytes(dir / "a", "123456789");
  std::filesystem::create_directory(dir / "inner");
  test::write_bytes(dir / "inner/b", std::string(3'000'000, 'x'));
  const auto made = make_checksums(dir.path().string());
  REQUIRE(made.has_value());
  REQUIRE(made->files.size() == 2);
  CHECK(made->files.at("a") == Checksum{9, 0xE3069283});
  REQUIRE(write_checksums(dir.path().string(), *made).has_value());
  const auto read = read_checksums(dir.path().string());
  REQUIRE(read.has_value());
  CHECK(read->files == made->files);
  CHECK(make_checksums(dir.path().string())->files == made->files);
}

TEST_CASE("checksums: a damaged list is told", "[unit][proto]") {
  const test::TempDir dir;
  const std::string head = R"({"format":"rtrain-checksums","version":1,"algorithm":"crc32c")";
  for (const auto& text :
       {std::string("{"), std::string("[]"), std::string(R"({"format":"other"})"), head + "}",
        std::string(R"({"format":"rtrain-checksums","version":2,"algorithm":"crc32c","files":{}})"),
        head + R"(,"files":{"a":3}})", head + R"(,"files":{"../a":{"bytes":1,"crc32c":"00000000"}}})",
        head + R"(,"files":{"/a":{"bytes":1,"crc32c":"00000000"}}})",
        head + R"(,"files":{"a":{"bytes":-1,"crc32c":"00000000"}}})",
        head + R"(,"files":{"a":{"bytes":1,"crc32c":"xyz00000"}}})"}) {
    INFO(text);
    test::write_bytes(dir / kChecksumsFile, text);
    const auto read = read_checksums(dir.path().string());
    REQUIRE(read.has_error());
    CHECK(read.error().code() == Errc::kIo);
  }
  test::write_bytes(dir / kChecksumsFile, head + R"(,"files":{}})");
  CHECK(read_checksums(dir.path().string()).has_value());
}
