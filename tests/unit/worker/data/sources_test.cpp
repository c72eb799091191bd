// Readers of data sets against the files of other programs: tests/golden/data/sources and fake_data.txt, made
// by make_sources.py there.
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/training.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

namespace sources_test {

using namespace rtrain;
using namespace rtrain::data;
using Catch::Matchers::Contains;

namespace {

namespace fs = std::filesystem;

const fs::path kSources = RTRAIN_SOURCE_DIR "/tests/golden/data/sources";

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
fs::path write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}
Batch all_of(const std::shared_ptr<Dataset>& set) {
  return *DataLoader(set, {.batch_size = std::max<std::int64_t>(1, set->size()), .num_workers = 0})
              .epoch(0)
              .next();
}

}  // namespace

TEST_CASE("arrays: .npz and .npy as NumPy writes them", "[unit][data]") {
  const auto base = torch::arange(24).view({2, 3, 4});
  const std::map<std::string, torch::ScalarType> types{
      {"b1", torch::kBool},          {"u1", torch::kByte},   {"i1", torch::kChar},
      {"i2", torch::kShort},         {"i4", torch::kInt},    {"i8", torch::kLong},
      {"u2", torch::kUInt16},        {"u4", torch::kUInt32}, {"f2", torch::kHalf},
      {"f4", torch::kFloat},         {"f8", torch::kDouble}, {"c8", torch::kComplexFloat},
      {"c16", torch::kComplexDouble}};
  for (const char* file : {"stored.npz", "deflated.npz"}) {
    INFO(file);
    const auto arrays = load_npz(kSources / file);
    CHECK(arrays.size() == types.size() + 4);
    for (const auto& [name, type] : types) {
      INFO(name);
      const auto& array = arrays.at(name);
      CHECK(array.scalar_type() == type);
      const auto expected = name == "b1" ? base % 2 : name[0] == 'u' ? base : base - 7;
      CHECK(torch::equal(array.to(torch::kComplexDouble), expected.to(torch::kComplexDouble)));
    }
    CHECK(torch::equal(arrays.at("big"), base.to(torch::kDouble) * 1.5));
    CHECK(torch::equal(arrays.at("fortran"), (base - 7).to(torch::kFloat) * 2));
    CHECK(arrays.at("scalar").item<double>() == 2.5);
    CHECK(arrays.at("empty").sizes().vec() == std::vector<std::int64_t>{0, 3});
  }
  for (const bool mmap : {false, true}) {
    CHECK(torch::equal(load_npy(kSources / "f4.npy", mmap), (base - 7).to(torch::kFloat)));
    CHECK(torch::equal(load_npy(kSources / "fortran.npy", mmap), (base - 7).to(torch::kFloat) * 2));
    CHECK(torch::equal(load_npy(kSources / "version3.npy", mmap), (base - 7).to(torch::kInt)));
  }
  auto mapped = load_npy(kSources / "f4.npy", true);
  mapped.add_(1);  // in memory only
  CHECK(torch::equal(load_npy(kSources / "f4.npy"), (base - 7).to(torch::kFloat)));
  CHECK(torch::equal(load_npy(kSources / "big.npy"), base.to(torch::kDouble) * 1.5));
}

TEST_CASE("arrays: what cannot be read says which and why", "[unit][data]") {
  CHECK_THROWS_WITH(load_npy(kSources / "text.npy"), Contains("text.npy: its type is '<U2'"));
  CHECK_THROWS_WITH(load_npy(kSources / "structure.npy"), Contains("structures"));
  CHECK_THROWS_WITH(load_npy(kSources / "big.npy", true), Contains("byte order"));
  CHECK_THROWS_WITH(load_npy(kSources / "none.npy"), Contains("none.npy: could not be read"));
  const test::Folder folder;
  const auto npy = bytes_of(kSources / "f4.npy"), npz = bytes_of(kSources / "deflated.npz");
  for (std::size_t size = 0; size < npy.size(); size += 7)
    CHECK_THROWS_AS(load_npy(write(folder / "a.npy", npy.substr(0, size))), std::runtime_error);
  for (std::size_t size = 0; size < npz.size(); size += 101)
    CHECK_THROWS_AS(load_npz(write(folder / "a.npz", npz.substr(0, size))), std::runtime_error);
  int noticed = 0;
  for (std::size_t at = 30; at < npz.size(); at += 37) {
    auto damaged = npz;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    try {
      (void)load_npz(write(folder / "a.npz", damaged));
    } catch (const std::runtime_error&) {
      ++noticed;
    }
  }
  CHECK(noticed > 20);
}

TEST_CASE("FakeData: the images and labels of torchvision", "[unit][data]") {
  std::map<std::int64_t, std::int64_t> seen;
  for (const auto& line : test::golden_lines("data/fake_data.txt")) {
    std::istringstream text(line);
    std::int64_t offset = 0, label = 0;
    text >> offset >> label;
    const std::vector<std::int64_t> pixels{std::istream_iterator<std::int64_t>(text), {}};
    const auto batch = all_of(FakeData({.size = 3,
                                        .image_size = {3, 4, 5},
                                        .num_classes = 7,
                                        .random_offset = offset,
                                        .transform = transforms::Compose({})}));
    const auto i = seen[offset]++;
    CHECK(batch.target[i].item<std::int64_t>() == label);
    CHECK(torch::equal(batch.input[i].flatten().to(torch::kLong), torch::tensor(pixels)));
  }
  CHECK(seen.size() == 2);
  CHECK(FakeData()->size() == 1000);
  CHECK_THROWS_AS(FakeData({.num_classes = 0}), std::invalid_argument);
}

TEST_CASE("CIFAR: files in the documented layout", "[unit][data]") {
  const test::Folder folder;
  const auto record = [](std::string labels, int first) {
    for (int i = 0; i < 3072; ++i) labels += static_cast<char>((first + i) % 251);
    return labels;
  };
  fs::create_directory(folder / "cifar-10-batches-bin");
  for (int i = 1; i <= 5; ++i)
    write(folder / ("cifar-10-batches-bin/data_batch_" + std::to_string(i) + ".bin"),
          record(std::string(1, static_cast<char>(i)), i) + record(std::string(1, 9), i + 100));
  write(folder / "train.bin", record({3, 77}, 1) + record({19, 99}, 2));
  const auto ten = all_of(CIFAR10(folder.path(), true, transforms::Compose({})));
  CHECK(ten.input.sizes().vec() == std::vector<std::int64_t>{10, 3, 32, 32});
  CHECK(torch::equal(ten.target, torch::tensor({1, 9, 2, 9, 3, 9, 4, 9, 5, 9}, torch::kLong)));
  CHECK(torch::equal(ten.input[2].flatten(), ((torch::arange(3072) + 2) % 251).to(torch::kByte)));
  CHECK(torch::equal(all_of(CIFAR10(folder.path(), true)).input, ten.input.to(torch::kFloat) / 255));
  CHECK(torch::equal(all_of(CIFAR100(folder.path(), true)).target, torch::tensor({77, 99}, torch::kLong)));
  CHECK(torch::equal(all_of(CIFAR100(folder.path(), true, nullptr, CIFARLabels::kCoarse)).target,
                     torch::tensor({3, 19}, torch::kLong)));
  CHECK_THROWS_WITH(CIFAR10(folder.path(), false), Contains("CIFAR10: no file test_batch.bin in"));
  write(folder / "test_batch.bin", record({1}, 1).substr(1));
  CHECK_THROWS_WITH(CIFAR10(folder.path(), false), Contains("no whole records of 3073"));
  write(folder / "test_batch.bin", record({10}, 1));
  CHECK_THROWS_WITH(CIFAR10(folder.path(), false),
                    Contains("record 0 has the label 10, expected less than 10"));
}

TEST_CASE("TokenFile: windows of a flat file", "[unit][data]") {
  const test::Folder folder;
  std::string bytes;
  for (int i = 0; i < 23; ++i)
    bytes += {static_cast<char>(i * 1000 % 65536 % 256), static_cast<char>(i * 1000 / 256)};
  const auto path = write(folder / "train.bin", bytes);
  const auto token = torch::arange(23) * 1000;
  const auto windows = [&](TokenFileOptions options) { return TokenFile(path, options); };
  auto batch = all_of(windows({.block_size = 5}));
  CHECK(batch.size() == 4);
  CHECK(batch.input.scalar_type() == torch::kLong);
  CHECK(torch::equal(batch.input, token.slice(0, 0, 20).view({4, 5})));
  CHECK(torch::equal(batch.target, token.slice(0, 1, 21).view({4, 5})));
  CHECK(windows({.block_size = 5, .stride = 1})->size() == 18);
  CHECK(windows({.block_size = 22})->size() == 1);
  CHECK(windows({.block_size = 11, .stride = 12})->size() == 1);

  const DataLoader random(windows({.block_size = 5, .random = true}),
                          {.batch_size = 4, .num_workers = 2, .seed = 3});
  std::set<std::int64_t> begins;
  for (std::int64_t epoch = 0; epoch < 40; ++epoch) {
    batch = *random.epoch(epoch).next();
    CHECK(torch::equal(batch.input, random.epoch(epoch).next()->input));
    CHECK(torch::equal(batch.input + 1000, batch.target));
    for (std::int64_t i = 0; i < 4; ++i) begins.insert(batch.input[i][0].item<std::int64_t>() / 1000);
  }
  CHECK(begins.size() == 18);  // every place where a window fits
  CHECK(*begins.rbegin() == 17);

  CHECK_THROWS_WITH(windows({.block_size = 2, .dtype = torch::kUInt32}),
                    Contains("no whole tokens of 4 bytes"));
  CHECK_THROWS_WITH(windows({.block_size = 23}), Contains("has 23 tokens") && Contains("needs 24"));
  CHECK_THROWS_WITH(windows({.block_size = 2, .dtype = torch::kLong}),
                    Contains("expected UInt16, UInt32 or Int"));
  CHECK_THROWS_AS(windows({.stride = 1, .random = true}), std::invalid_argument);
}

TEST_CASE("CSV: types, quotes, and rows that are broken", "[unit][data]") {
  const test::Folder folder;
  const auto path = write(folder / "a.csv",
                          "\xef\xbb\xbfid,height, \"the \"\"kind\"\"\",note\r\n"
                          "1,1.5,dog,\"a, b\r\nc\"\r\n\r\n2,,cat,\n-3,2e3,dog,x");
  const auto table = read_csv(path);
  CHECK(table.rows() == 3);
  CHECK(torch::equal(table["id"].numbers, torch::tensor({1, 2, -3}, torch::kLong)));
  const auto height = table["height"].numbers;
  CHECK(height.scalar_type() == torch::kDouble);
  CHECK(std::isnan(height[1].item<double>()));
  CHECK(height[2].item<double>() == 2000);
  CHECK(table["note"].texts == std::vector<std::string>{"a, b\r\nc", "", "x"});
  CHECK_THROWS_WITH(table["size"], Contains("no column \"size\"; it has id, height"));

  const auto plain = read_csv(write(folder / "b.csv", "1;2;dog\n3;4;cat\n5;6;dog\n"),
                              {.delimiter = ';', .has_header = false});
  const auto batch = all_of(CSV(plain, {}, "2"));
  CHECK(torch::equal(batch.input, torch::tensor({{1.f, 2.f}, {3.f, 4.f}, {5.f, 6.f}})));
  CHECK(torch::equal(batch.target, torch::tensor({1, 0, 1}, torch::kLong)));
  CHECK(all_of(CSV(plain, {"0"}, "1")).target.scalar_type() == torch::kLong);
  CHECK_FALSE(all_of(CSV(plain, {"0", "1"}, "")).target.defined());
  CHECK_THROWS_WITH(CSV(plain, {"2"}, ""), Contains("input \"2\" is text"));

  const auto broken = write(folder / "c.csv", "a,b\n1,2\n\"3\n\",4,5\n6,7\n");
  CHECK_THROWS_WITH(read_csv(broken), Contains("c.csv: line 3 has 3 cells, the first one has 2"));
  const test::Heard heard;
  CHECK(read_csv(broken, {.on_error = OnError::kSkip}).rows() == 2);
  CHECK_THAT(heard.text(), Contains("line 3 has 3 cells"));
  CHECK_THROWS_WITH(read_csv(write(folder / "d.csv", "a,b\n\"1,2\n")), Contains("line 2 is not closed"));
  CHECK_THROWS_WITH(read_csv(folder / "none.csv"), Contains("none.csv: could not be read"));
}

}  // namespace sources_test
