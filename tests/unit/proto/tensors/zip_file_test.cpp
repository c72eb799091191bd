#include "proto/tensors/zip_file.h"

#include "proto/tensors/little_endian.h"
#include "tests/support/tensor_files.h"

namespace zip_file_test {

using namespace rtrain;
using namespace rtrain::tensors;
using Catch::Matchers::Contains;

namespace {

void write_sample(const std::string& path) {
  auto zip = ZipWriter::create(path);
  REQUIRE(zip.has_value());
  REQUIRE(zip->add("archive/data.pkl", "N.").has_value());
  REQUIRE(zip->begin("archive/data/0", 6).has_value());
  REQUIRE(zip->write("abc").has_value());
  REQUIRE(zip->write("def").has_value());
  REQUIRE(zip->end().has_value());
  REQUIRE(zip->add("archive/none", "").has_value());
  REQUIRE(zip->finish().has_value());
}

Result<ZipFile> open(const std::filesystem::path& path) {
  auto file = os::OpenFile::open(path.string());
  REQUIRE(file.has_value());
  return ZipFile::open(*file);
}

}  // namespace

TEST_CASE("zip_file: members come back, at multiples of 64 bytes", "[unit][proto]") {
  const test::TempDir dir;
  write_sample((dir / "a.zip").string());
  const auto zip = open(dir / "a.zip");
  REQUIRE(zip.has_value());
  REQUIRE(zip->members().size() == 3);
  const auto* member = zip->find("archive/data/0");
  REQUIRE(member != nullptr);
  CHECK(*zip->text(*member, 100) == "abcdef");
  CHECK(zip->text(*member, 5).has_error());
  for (const auto& each : zip->members()) {
    CHECK(*zip->data_at(each) % 64 == 0);
    CHECK(zip->check(each).has_value());
  }
  CHECK(zip->find("archive/data/1") == nullptr);
  // The same content gives the same bytes.
  write_sample((dir / "b.zip").string());
  CHECK(test::read_bytes(dir / "a.zip") == test::read_bytes(dir / "b.zip"));
}

TEST_CASE("zip_file: damage is told", "[unit][proto]") {
  const test::TempDir dir;
  write_sample((dir / "good").string());
  const auto good = test::read_bytes(dir / "good");
  const auto refuse = [&](const std::string& bytes, const std::string& fault) {
    INFO(fault);
    test::write_bytes(dir / "f", bytes);
    const auto zip = open(dir / "f");
    REQUIRE(zip.has_error());
    CHECK_THAT(zip.error().message(), Contains(fault) && Contains((dir / "f").string()));
  };
  const auto changed = [&](std::size_t at, std::string_view bytes) {
    auto copy = good;
    copy.replace(at, bytes.size(), bytes);
    return copy;
  };
  const auto directory = good.find("PK\x01\x02"), end = good.find("PK\x05\x06");
  refuse("", "no end");
  refuse("PK", "no end");
  refuse(good.substr(0, good.size() - 1), "no end");
  refuse(good.substr(0, directory), "no end");
  refuse(good + "x", "no end");
  refuse(changed(end + 16, "\xff\xff\xff\x7f"), "directory does not fit");
  refuse(changed(end + 10, "\xff\x7f"), "directory does not fit");
  refuse(changed(directory, "XX"), "damaged at member 0");
  refuse(changed(directory + 10, "\x08"), "compressed");
  refuse(changed(directory + 8, "\x01"), "encrypted");
  refuse(changed(directory + 20, "\xff\xff\xff\x7f\xff\xff\xff\x7f"), "beyond the file");
  refuse(changed(directory + 28, "\xff\xff"), "ends within a member");

  test::write_bytes(dir / "f", changed(good.find("abcdef"), "abcdeX"));
  auto zip = open(dir / "f");
  REQUIRE(zip.has_value());
  CHECK_THAT(zip->check(*zip->find("archive/data/0")).error().message(), Contains("was changed"));
  test::write_bytes(dir / "f", changed(0, "XX"));
  zip = open(dir / "f");
  REQUIRE(zip.has_value());
  CHECK_THAT(zip->data_at(zip->members()[0]).error().message(), Contains("does not begin where"));
}

TEST_CASE("zip_file: more than 65,535 members", "[unit][proto]") {
  const test::TempDir dir;
  auto writer = ZipWriter::create((dir / "many").string());
  REQUIRE(writer.has_value());
  for (int i = 0; i < 70'000; ++i) REQUIRE(writer->add("a/" + std::to_string(i), "").has_value());
  REQUIRE(writer->finish().has_value());
  const auto zip = open(dir / "many");
  REQUIRE(zip.has_value());
  CHECK(zip->members().size() == 70'000);
}

}  // namespace zip_file_test
