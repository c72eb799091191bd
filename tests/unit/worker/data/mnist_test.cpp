#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <rtrain/data.h>

#include <torch/torch.h>
#include <zlib.h>

#include <fstream>

namespace mnist_test {

using namespace rtrain;
namespace fs = std::filesystem;
using Catch::Matchers::Contains;

namespace {

std::string idx(std::vector<int> sizes, const std::string& bytes) {
  std::string text{'\0', '\0', '\x08', static_cast<char>(sizes.size())};
  for (const int size : sizes) {
    for (const int shift : {24, 16, 8, 0}) text.push_back(static_cast<char>(size >> shift));
  }
  return text + bytes;
}

void write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

void write_gz(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  auto* file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
}

const std::string kPixels{'\0', '\x01', '\x7f', '\xff', '\x05', '\x06'};

}  // namespace

TEST_CASE("mnist: plain and gzipped files in the folder or in torchvision's subfolder",
          "[unit][worker][data]") {
  const test::TempDir dir;
  write(dir / "a/t10k-images-idx3-ubyte", idx({3, 1, 2}, kPixels));
  write(dir / "a/t10k-labels-idx1-ubyte", idx({3}, std::string{'\x03', '\x00', '\x09'}));
  write_gz(dir / "b/FashionMNIST/raw/t10k-images-idx3-ubyte.gz", idx({3, 1, 2}, kPixels));
  write_gz(dir / "b/FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
           idx({3}, std::string{'\x03', '\x00', '\x09'}));
  for (const auto* root : {"a", "b"}) {
    const auto set = data::FashionMNIST(dir / root, /*train=*/false);
    REQUIRE(set->size() == 3);
    const auto batch = set->get_batch(std::vector<std::int64_t>{1, 0});
    CHECK(torch::equal(batch.target, torch::tensor({0, 3})));
    CHECK(batch.input.sizes() == at::IntArrayRef({2, 1, 1, 2}));
    CHECK(torch::equal(
        batch.input,
        torch::tensor({127, 255, 0, 1}, torch::kByte).to(torch::kFloat).div(255).view({2, 1, 1, 2})));
  }
  CHECK_THROWS_AS(data::FashionMNIST(dir / "a", false)->get_batch(std::vector<std::int64_t>{3}),
                  std::out_of_range);
}

TEST_CASE("mnist: a table of 256 values gives the same bits as the transform itself",
          "[unit][worker][data]") {
  namespace t = data::transforms;
  struct Slow : t::Transform {  // the same transform, not known to be pointwise
    std::shared_ptr<const t::Transform> inner = t::Compose({t::ToTensor(), t::Normalize(0.2860, 0.3530)});
    [[nodiscard]] torch::Tensor apply(const torch::Tensor& images) const override {
      return inner->apply(images);
    }
  };
  const test::TempDir dir;
  std::string pixels;
  for (int i = 0; i < 256; ++i) pixels.push_back(static_cast<char>(i));
  write(dir / "MNIST/raw/train-images-idx3-ubyte", idx({4, 8, 8}, pixels));
  write(dir / "MNIST/raw/train-labels-idx1-ubyte", idx({4}, std::string(4, '\1')));
  const std::vector<std::int64_t> order{2, 3, 0, 1};
  const auto set = data::MNIST(dir.path(), true, t::Compose({t::ToTensor(), t::Normalize(0.2860, 0.3530)}));
  const auto fast = set->get_batch(order);
  const auto slow_set = data::MNIST(dir.path(), true, std::make_shared<Slow>());
  const auto slow = slow_set->get_batch(order);
  CHECK(torch::equal(fast.input, slow.input));
  // On a device they are bytes, and the transform runs there.
  CHECK(set->resident_bytes() == 4 * 64 + 4 * 8);
  CHECK(slow_set->resident_bytes() == 0);
  const auto there = set->on_device(torch::kCPU)->get_batch(order);
  CHECK(torch::equal(there.input, fast.input));
  CHECK(torch::equal(there.target, fast.target));
  CHECK(fast.input.scalar_type() == torch::kFloat);
}

TEST_CASE("mnist: a missing file is told with the places looked in and the way out", "[unit][worker][data]") {
  const test::TempDir dir;
  try {
    (void)data::MNIST(dir / "nothing", true);
    FAIL("found files that are not there");
  } catch (const std::runtime_error& e) {
    CHECK_THAT(e.what(), Contains("train-images-idx3-ubyte") && Contains((dir / "nothing").string()) &&
                             Contains("MNIST/raw"));
  }
  write(dir / "FashionMNIST/raw/train-images-idx3-ubyte", idx({0, 28, 28}, ""));
  // Also where the system has a copy: a folder that was named is the only place.
  CHECK_THROWS_WITH(data::FashionMNIST(dir.path(), true), Contains("train-labels-idx1-ubyte") &&
                                                              Contains("leave root empty") &&
                                                              !Contains("/usr/share/datasets"));
  CHECK_THROWS_WITH(data::FashionMNIST("/nix", false),
                    Contains("no file t10k-images-idx3-ubyte[.gz] in /nix, /nix/FashionMNIST/raw."));
}

TEST_CASE("mnist: a broken file is refused by name and fault", "[unit][worker][data]") {
  const test::TempDir dir;
  const auto images = dir / "train-images-idx3-ubyte";
  const auto labels = dir / "train-labels-idx1-ubyte";
  const auto open = [&] { return data::MNIST(dir.path(), true); };
  write(images, idx({2, 1, 2}, "abcd"));
  write(labels, idx({2}, "ab"));
  CHECK(open()->size() == 2);

  write(labels, idx({3}, "abc"));
  CHECK_THROWS_WITH(open(), Contains("2 images") && Contains("3 labels"));
  write(labels, idx({2}, "a"));
  CHECK_THROWS_WITH(open(), Contains(labels.string()) && Contains("ends too early"));
  write(labels, idx({2}, "abc"));
  CHECK_THROWS_WITH(open(), Contains("longer than its header"));
  write(labels, "GIF89a, not labels");
  CHECK_THROWS_WITH(open(), Contains("not an IDX file"));
  write(labels, idx({2}, "ab"));
  write(images, idx({0x7fffffff, 0x7fffffff, 2}, "abcd"));
  CHECK_THROWS_WITH(open(), Contains("more than 2 GiB"));

  fs::remove(images);
  write_gz(dir / "train-images-idx3-ubyte.gz", idx({2, 1, 2}, "abcd"));
  CHECK(open()->size() == 2);
  std::string gz;
  {
    std::ifstream in(dir / "train-images-idx3-ubyte.gz", std::ios::binary);
    gz.assign(std::istreambuf_iterator<char>(in), {});
  }
  auto wrong_checksum = gz;
  wrong_checksum[gz.size() - 6] ^= 1;  // CRC32 of the gzip trailer
  write(dir / "train-images-idx3-ubyte.gz", wrong_checksum);
  CHECK_THROWS_AS(open(), std::runtime_error);
  for (std::size_t size = 4; size < gz.size(); ++size) {
    write(dir / "train-images-idx3-ubyte.gz", gz.substr(0, size));
    CHECK_THROWS_AS(open(), std::runtime_error);
  }
}

TEST_CASE("transforms: wrong use is refused", "[unit][worker][data]") {
  namespace t = data::transforms;
  CHECK_THROWS_WITH(t::Normalize(0.5, 0.0), Contains("divide by zero"));
  CHECK_THROWS_WITH(t::Normalize({0.1, 0.2}, {0.3}), Contains("2 means and 1 stds"));
  CHECK_THROWS_WITH(t::Compose({nullptr}), Contains("null"));
  CHECK_THROWS_WITH(t::Normalize(0.5, 0.5)->apply(torch::zeros({1}, torch::kByte)), Contains("ToTensor()"));
  CHECK_THROWS_WITH(t::ToTensor()->apply(torch::zeros({1})), Contains("uint8"));
  CHECK_FALSE(t::Compose({t::ToTensor(), t::Normalize({0.1, 0.2}, {0.3, 0.4})})->is_pointwise());
  const auto images = torch::ones({2, 2, 1, 1});
  CHECK(t::Normalize({0.5, 0.0}, {0.5, 2.0})->apply(images).flatten()[1].item<float>() == 0.5f);
}

TEST_CASE("mnist: a random transform draws by seed, epoch and sample", "[unit][worker][data]") {
  const test::TempDir dir;
  write(dir / "t10k-images-idx3-ubyte", idx({3, 1, 2}, kPixels));
  write(dir / "t10k-labels-idx1-ubyte", idx({3}, std::string{'\x03', '\x00', '\x09'}));
  const auto set = data::FashionMNIST(dir.path(), /*train=*/false, data::transforms::RandomHorizontalFlip());
  const SampleContext context{.seed = 1, .epoch = 2};
  const auto all = set->get_batch(std::vector<std::int64_t>{0, 1, 2}, context).input;
  CHECK(torch::equal(all[2], set->get_batch(std::vector<std::int64_t>{2}, context).input[0]));
  bool flipped = false;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    const SampleContext other{.seed = 1, .epoch = epoch};
    flipped = flipped || !torch::equal(set->get_batch(std::vector<std::int64_t>{0, 1, 2}, other).input, all);
  }
  CHECK(flipped);
  CHECK(set->get_batch(std::vector<std::int64_t>{0}).input.scalar_type() == torch::kByte);
}

}  // namespace mnist_test
