#include "proto/tensors/checksums.h"

#include "tests/support/tensor_files.h"

namespace checksums_test {

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

TEST_CASE("checksums: a folder is held against its list, and the damaged file is named", "[unit][proto]") {
  const test::TempDir dir;
  const auto folder = dir.path().string();
  std::filesystem::create_directory(dir / "sub");
  test::write_bytes(dir / "a", "abc");
  test::write_bytes(dir / "sub/b", "");
  CHECK(check_folder(folder).has_value());  // there is no list
  REQUIRE(write_checksums(folder, make_checksums(folder).value()).has_value());
  CHECK(check_folder(folder).has_value());
  test::write_bytes(dir / "new", "not in the list");
  CHECK(check_folder(folder).has_value());
  const auto fault = [&] {
    const auto checked = check_folder(folder);
    REQUIRE(checked.has_error());
    CHECK(checked.error().code() == Errc::kIo);
    return checked.error().message();
  };
  test::write_bytes(dir / "a", "abd");
  CHECK_THAT(fault(), Catch::Matchers::StartsWith("a was changed: CRC-32C ") &&
                          Catch::Matchers::EndsWith("checksums.json says 364b3fb7"));
  test::write_bytes(dir / "a", "ab");
  CHECK(fault() == "a has 2 bytes, checksums.json says 3");
  test::write_bytes(dir / "a", "abc");
  std::filesystem::remove(dir / "sub/b");
  CHECK_THAT(fault(), Catch::Matchers::Contains("sub/b: no such file"));
}

TEST_CASE("checksums: a name that JSON cannot hold is left out, and is not taken for damage",
          "[unit][proto]") {
  const test::TempDir dir;
  test::write_bytes(dir / "\xff", "a");
  test::write_bytes(dir / "größe", "b");
  const auto folder = dir.path().string();
  REQUIRE(write_checksums(folder, make_checksums(folder).value()).has_value());
  CHECK(read_checksums(folder)->files.size() == 1);
  CHECK(check_folder(folder).has_value());
}

TEST_CASE("checksums: what is known is not read again", "[unit][proto]") {
  const test::TempDir dir;
  const auto folder = dir.path().string();
  std::filesystem::create_directory(dir / "sub");
  std::filesystem::create_directory(dir / "other");
  test::write_bytes(dir / "sub/a", "abc");
  test::write_bytes(dir / "sub/longer", "abc");
  test::write_bytes(dir / "b", "b");
  REQUIRE(write_checksums((dir / "sub").string(), {{{"a", {3, 7}}, {"longer", {2, 7}}}}).has_value());
  test::write_bytes(dir / "other/checksums.json", "of something else");
  const auto known = known_below(folder);
  CHECK(known.files == std::map<std::string, Checksum>{{"sub/a", {3, 7}}, {"sub/longer", {2, 7}}});
  const auto made = make_checksums(folder, known);
  REQUIRE(made.has_value());
  CHECK(made->files.at("sub/a").crc32c == 7);
  CHECK(made->files.at("sub/longer") == checksum_of_text("abc"));
  CHECK(made->files.size() == 5);
  // Through links, as a checkpoint's files are copied; one that leads nowhere is none.
  std::filesystem::create_directory_symlink(dir / "sub", dir / "link");
  std::filesystem::create_symlink("gone", dir / "dangling");
  CHECK(make_checksums(folder)->files.at("link/a") == checksum_of_text("abc"));
  CHECK_FALSE(make_checksums(folder)->files.contains("dangling"));
}

}  // namespace checksums_test
