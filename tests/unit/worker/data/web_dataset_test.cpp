// WebDataset over archives of Python's tarfile: tests/golden/data/sources/*.tar, made by make_sources.py
// there.
#include "tests/support/catch.h"
#include "tests/support/training.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace web_dataset_test {

using namespace rtrain;
using namespace rtrain::data;
using Catch::Matchers::Contains;

namespace {

namespace fs = std::filesystem;

const std::string kSources = RTRAIN_SOURCE_DIR "/tests/golden/data/sources/";

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
std::string write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path.string();
}

/// The value that all pixels of an image have is ten times its number.
std::vector<std::int64_t> numbers_of(DataLoader::Iterator batches) {
  std::vector<std::int64_t> numbers;
  while (const auto batch = batches.next()) {
    for (std::int64_t i = 0; i < batch->size(); ++i) {
      const auto number = batch->input[i][0][0][0].item<std::int64_t>() / 10;
      REQUIRE(batch->target[i].item<std::int64_t>() == number % 3);
      REQUIRE((batch->input[i] == number * 10).all().item<bool>());
      numbers.push_back(number);
    }
  }
  return numbers;
}
std::vector<std::int64_t> numbers_of(const DataLoader& loader, std::int64_t epoch = 0) {
  return numbers_of(loader.epoch(epoch));
}

const std::vector<std::string> kAll{kSources + "ustar-{000..001}.tar", kSources + "{pax.tar,gnu.tar.gz}"};

DataLoader images(const std::vector<std::string>& paths, WebDatasetOptions shards = {},
                  DataLoaderOptions options = {.batch_size = 2}) {
  return {WebImages(paths, {.transform = transforms::Compose({}), .shards = shards}), options};
}

std::vector<std::int64_t> sorted(std::vector<std::int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}
const std::vector<std::int64_t> kNumbers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

}  // namespace

TEST_CASE("WebDataset: archives of tarfile, in all its formats", "[unit][data]") {
  CHECK(numbers_of(images(kAll)) == kNumbers);
  const WebDataset<std::string> keys(kAll, [](const TarSample& sample, const SampleContext&) {
    CHECK(sample.fields.size() == 2);
    return sample.key;
  });
  CHECK(keys.archives().size() == 4);
  CHECK(keys.archives()[1] == kSources + "ustar-001.tar");
  auto stream = keys.open({}, 0);
  std::vector<std::string> all;
  while (auto key = stream->next()) all.push_back(*key);
  CHECK(all.front() == "photos/0000");
  CHECK(all[7] == "ö" + std::string(120, 'x') + "/0007");
  CHECK(all[10] == std::string(120, 'y') + "/0010");
}

TEST_CASE("WebDataset: ranks and threads share the archives", "[unit][data]") {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const int workers : {0, 1, 2, 3}) {
      INFO(ranks << " " << workers);
      const auto loader = images(kAll, {.shuffle_shards = true}, {.batch_size = 2, .num_workers = workers});
      std::vector<std::int64_t> all;
      for (int rank = 0; rank < ranks; ++rank) {
        const auto own = numbers_of(loader.with_ranks(rank, ranks), 3);
        CHECK_FALSE(own.empty());
        all.insert(all.end(), own.begin(), own.end());
      }
      CHECK(sorted(all) == kNumbers);
    }
  }
  CHECK_THROWS_WITH(numbers_of(images(kAll).with_ranks(0, 5)), Contains("4 archive(s) for 5 ranks"));
}

TEST_CASE("WebDataset: shuffled anew in each epoch, the same again for a seed", "[unit][data]") {
  const auto loader = [](std::uint64_t seed) {
    return images(kAll, {.shuffle_shards = true, .shuffle_buffer = 4}, {.batch_size = 2, .seed = seed});
  };
  std::set<std::vector<std::int64_t>> orders;
  for (const std::uint64_t seed : {1u, 2u})
    for (const std::int64_t epoch : {0, 1, 2}) {
      const auto order = numbers_of(loader(seed), epoch);
      CHECK(sorted(order) == kNumbers);
      CHECK(order == numbers_of(loader(seed), epoch));
      orders.insert(order);
    }
  CHECK(orders.size() >= 5);
}

TEST_CASE("WebDataset: from any place that was saved, the rest follows", "[unit][data]") {
  for (const std::int64_t buffer : {0, 3}) {
    for (const int workers : {0, 2}) {
      const auto loader = images(kAll, {.shuffle_buffer = buffer}, {.batch_size = 2, .num_workers = workers});
      const auto whole = numbers_of(loader, 1);
      std::size_t seen = 0;
      for (int taken = 0; seen < whole.size(); ++taken) {
        auto before = loader.epoch(1);
        seen = 0;
        for (int i = 0; i < taken; ++i)
          if (const auto batch = before.next()) seen += static_cast<std::size_t>(batch->size());
        INFO(buffer << " " << workers << " " << taken);
        CHECK(numbers_of(loader.resume(1, before.save_state())) ==
              std::vector<std::int64_t>(whole.begin() + static_cast<std::ptrdiff_t>(seen), whole.end()));
      }
    }
  }
}

TEST_CASE("WebDataset: random transforms draw by archive and key", "[unit][data]") {
  const auto draws = [](int workers, std::int64_t epoch) {
    const auto set = std::make_shared<WebDataset<std::int64_t>>(
        kAll, [](const TarSample& sample, const SampleContext& context) {
          return static_cast<std::int64_t>(context.seed_of(TarShards::index_of(sample)) >> 1);
        });
    std::set<std::int64_t> all;
    auto batches = DataLoader(set, {.num_workers = workers, .seed = 5}).epoch(epoch);
    while (const auto batch = batches.next()) all.insert(batch->input[0].item<std::int64_t>());
    return all;
  };
  CHECK(draws(0, 0).size() == 11);
  CHECK(draws(0, 0) == draws(3, 0));
  CHECK(draws(0, 0) != draws(0, 1));
}

TEST_CASE("WebDataset: what is broken is named, or left out", "[unit][data]") {
  const test::Folder folder;
  const auto tar = bytes_of(kSources + "ustar-000.tar");
  const auto cut = write(folder / "cut.tar", tar.substr(0, 3000));
  CHECK_THROWS_WITH(numbers_of(images({cut})), Contains("cut.tar: the archive ends too early"));
  CHECK_THROWS_WITH(numbers_of(images({write(folder / "no.tar", std::string(2000, 'x'))})),
                    Contains("no.tar: no tar archive, or a damaged one"));
  CHECK_THROWS_WITH(numbers_of(images({(folder / "none.tar").string()})),
                    Contains("none.tar: could not be opened"));
  auto damaged = tar;
  const auto png = damaged.find("IDAT");
  damaged[png + 6] = static_cast<char>(damaged[png + 6] ^ 0x40);
  const auto bad = write(folder / "bad.tar", damaged);
  CHECK_THROWS_WITH(numbers_of(images({bad})), Contains("bad.tar: photos/0000: PNG: "));

  const test::Heard heard;
  const auto set = WebImages({bad, cut, kSources + "ustar-001.tar"},
                             {.transform = transforms::Compose({}), .shards = {.on_error = OnError::kSkip}});
  const auto numbers = numbers_of(DataLoader(set, {.batch_size = 2}));
  CHECK(numbers == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});
  CHECK(set->skipped() == 2);
  CHECK_THAT(heard.text(), Contains("bad.tar: photos/0000"));

  const WebDataset<std::string> other(
      {kSources + "ustar-000.tar"},
      [](const TarSample& sample, const SampleContext&) { return sample.field("jpg;gif"); });
  CHECK_THROWS_WITH(other.open({}, 0)->next(), Contains("photos/0000: no field jpg;gif; it has cls, png"));
  CHECK_THROWS_AS(images({}), std::invalid_argument);
  CHECK_THROWS_WITH(images({"a{x..3}.tar"}), Contains("expected two numbers"));
  CHECK_THROWS_AS(images(kAll, {.shuffle_buffer = -1}), std::invalid_argument);
}

}  // namespace web_dataset_test
