// Images and ImageFolder against torchvision and Pillow: tests/golden/data/photos*, made by make_photos.py
// there.
#include "tests/support/catch.h"
#include "tests/support/golden.h"
#include "tests/support/training.h"

#include <rtrain/data.h>

#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <sstream>

namespace image_folder_test {

using namespace rtrain;
using namespace rtrain::data;
using Catch::Matchers::Contains;

namespace {

namespace fs = std::filesystem;

const fs::path kGolden = RTRAIN_SOURCE_DIR "/tests/golden/data";
const fs::path kPhotos = kGolden / "photos";

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("there is no " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}
torch::Tensor decode(const std::string& bytes, const DecodeOptions& options = {}) {
  return decode_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, options);
}

struct Photo {
  std::int64_t target = 0, height = 0, width = 0;
  std::string name;
  torch::Tensor rgb;  ///< [3, H, W]
};

std::vector<Photo> photos() {
  std::vector<Photo> all;
  for (const auto& line : test::golden_lines("data/photos.txt", "classes")) {
    Photo photo;
    std::istringstream text(line);
    text >> photo.target >> photo.height >> photo.width >> photo.name;
    std::ostringstream file;
    file << std::setw(2) << std::setfill('0') << all.size() << ".rgb";
    auto bytes = bytes_of(kGolden / "photos_rgb" / file.str());
    photo.rgb = torch::from_blob(bytes.data(), {photo.height, photo.width, 3}, torch::kByte)
                    .permute({2, 0, 1})
                    .contiguous();
    all.push_back(std::move(photo));
  }
  return all;
}

std::int64_t most_off(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kInt) - b.to(torch::kInt)).abs().max().item<std::int64_t>();
}

}  // namespace

TEST_CASE("images: decoded as Pillow decodes them", "[unit][data]") {
  const auto all = photos();
  REQUIRE(all.size() == 17);
  for (const auto& photo : all) {
    INFO(photo.name);
    const auto image = read_image(kPhotos / photo.name);
    CHECK(image.scalar_type() == torch::kByte);
    CHECK(image.is_contiguous());
    REQUIRE(image.sizes() == photo.rgb.sizes());
    const bool is_jpeg = photo.name.ends_with("jpg") || photo.name.ends_with("jpeg");
    CHECK(most_off(image, photo.rgb) <= (is_jpeg ? 1 : 0));
  }
}

TEST_CASE("images: other modes", "[unit][data]") {
  const auto mode = [](const char* name, ImageMode m) { return read_image(kPhotos / name, {.mode = m}); };
  CHECK(mode("dog/rgba.png", ImageMode::kUnchanged).size(0) == 4);
  CHECK(mode("dog/la.png", ImageMode::kUnchanged).size(0) == 2);
  CHECK(mode("cat/deep/er/gray.jpg", ImageMode::kUnchanged).size(0) == 1);
  CHECK(mode("cat/b.jpg", ImageMode::kUnchanged).size(0) == 3);
  CHECK(mode("bird/c.pgm", ImageMode::kUnchanged).size(0) == 1);
  const auto rgba = mode("dog/rgba.png", ImageMode::kRGBAlpha);
  CHECK(rgba[3][2][3].item<int>() == 30);  // (x + y) * 6
  CHECK((mode("cat/a.PNG", ImageMode::kRGBAlpha)[3] == 255).all().item<bool>());
  const auto rgb = mode("cat/a.PNG", ImageMode::kRGB).to(torch::kInt);
  const auto gray = (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 32768) / 65536;
  CHECK(torch::equal(mode("cat/a.PNG", ImageMode::kGray)[0].to(torch::kInt), gray.floor().to(torch::kInt)));
  const auto same = mode("dog/la.png", ImageMode::kUnchanged);
  CHECK(torch::equal(mode("dog/la.png", ImageMode::kGray)[0], same[0]));
  CHECK(torch::equal(mode("dog/la.png", ImageMode::kRGBAlpha)[3], same[1]));
}

TEST_CASE("images: orientation and smaller decoding are options", "[unit][data]") {
  const auto as_stored = read_image(kPhotos / "dog/exif.jpg");
  const auto turned = read_image(kPhotos / "dog/exif.jpg", {.apply_exif_orientation = true});
  // 6: the first row is seen as the last column
  CHECK(torch::equal(turned, torch::rot90(as_stored, -1, {1, 2})));
  CHECK(torch::equal(read_image(kPhotos / "cat/b.jpg", {.apply_exif_orientation = true}),
                     read_image(kPhotos / "cat/b.jpg")));
  const auto size = [](std::int64_t edge) {
    return read_image(kPhotos / "cat/b.jpg", {.shrink_to = edge}).sizes().vec();
  };
  CHECK(size(17) == std::vector<std::int64_t>{3, 17, 23});
  CHECK(size(10) == std::vector<std::int64_t>{3, 17, 23});
  CHECK(size(9) == std::vector<std::int64_t>{3, 9, 12});
  CHECK(size(5) == std::vector<std::int64_t>{3, 5, 6});
  CHECK(size(1) == std::vector<std::int64_t>{3, 3, 3});
  CHECK_THROWS_AS(size(-1), std::invalid_argument);
}

TEST_CASE("images: what is broken says what and why", "[unit][data]") {
  for (const char* name : {"cat/b.jpg", "cat/deep-er/progressive.jpg", "cat/a.PNG", "bird/a.bmp",
                           "bird/b.ppm", "bird/palette.bmp"}) {
    const auto whole = bytes_of(kPhotos / name);
    for (const auto size : {std::size_t{3}, whole.size() / 8, whole.size() / 2, whole.size() - 20}) {
      INFO(name << " " << size << " of " << whole.size());
      CHECK_THROWS_AS(decode(whole.substr(0, size)), SampleError);
    }
  }
  CHECK_THROWS_WITH(decode(""), Contains("empty"));
  CHECK_THROWS_WITH(decode("hello"), Contains("no image; read are JPEG, PNG"));
  CHECK_THROWS_WITH(decode("GIF89a..."), Contains("in the format GIF"));
  CHECK_THROWS_WITH(decode("RIFF....WEBP"), Contains("in the format WebP"));
  CHECK_THROWS_WITH(decode("P5 100000 100000 255 "), Contains("100000 x 100000 pixels; more than"));
  CHECK_THROWS_WITH(decode("P5 0 4 255 "), Contains("PNM: the image has 0 x 4 pixels"));
  CHECK_THROWS_WITH(decode("P6 2 2 255 abc"), Contains("PNM: the file ends too early"));
  auto png = bytes_of(kPhotos / "cat/a.PNG");
  png[png.size() / 2] = static_cast<char>(png[png.size() / 2] ^ 1);
  CHECK_THROWS_WITH(decode(png), Contains("PNG: "));
  CHECK_THROWS_WITH(read_image("/none/such.jpg"), Contains("/none/such.jpg: could not be read"));
}

TEST_CASE("ImageFolder: classes and order of torchvision", "[unit][data]") {
  const auto all = photos();
  const ImageFolder set(kPhotos);
  CHECK(set.classes() == std::vector<std::string>{"bird", "cat", "dog"});
  CHECK(set.class_to_idx().at("dog") == 2);
  REQUIRE(set.size() == static_cast<std::int64_t>(all.size()));
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO(all[i].name);
    CHECK(set.samples()[i].first == kPhotos / all[i].name);
    CHECK(set.samples()[i].second == all[i].target);
    const auto [image, target] = set.get(static_cast<std::int64_t>(i));
    CHECK(target == all[i].target);
    CHECK(torch::allclose(image, all[i].rgb.to(torch::kFloat) / 255, 0, 1.01 / 255));
  }
}

TEST_CASE("ImageFolder: in a loader, with any number of threads", "[unit][data]") {
  const auto set =
      std::make_shared<ImageFolder>(kPhotos, ImageFolderOptions{.transform = transforms::Compose({}),
                                                                .extensions = {".jpg", ".jpeg"},
                                                                .allow_empty = true});
  CHECK(set->skipped() == 0);
  std::vector<torch::Tensor> first;
  for (const int workers : {0, 1, 3}) {
    auto batches = DataLoader(set, {.batch_size = 2, .num_workers = workers}).epoch(0);
    std::vector<torch::Tensor> all;
    while (const auto batch = batches.next()) all.push_back(batch->input);
    CHECK(all.front().sizes().vec() == std::vector<std::int64_t>{2, 3, 17, 23});
    if (first.empty()) first = all;
    CHECK(torch::equal(torch::cat(first), torch::cat(all)));
  }
}

TEST_CASE("ImageFolder: broken images are an error that names them, or are left out", "[unit][data]") {
  const test::Folder folder;
  const auto jpeg = bytes_of(kPhotos / "cat/b.jpg");
  write(folder / "a/1.jpg", jpeg);
  write(folder / "a/2.jpg", jpeg.substr(0, 100));
  write(folder / "a/3.jpg", "");
  write(folder / "b/4.jpg", jpeg);
  const auto read = [&](OnError on_error, std::int64_t batch_size) {
    const auto set = std::make_shared<ImageFolder>(folder.path(), ImageFolderOptions{.on_error = on_error});
    auto batches = DataLoader(set, {.batch_size = batch_size, .num_workers = 0}).epoch(0);
    std::vector<std::int64_t> sizes;
    while (const auto batch = batches.next()) sizes.push_back(batch->size());
    sizes.push_back(set->skipped());
    return sizes;
  };
  CHECK_THROWS_WITH(read(OnError::kRaise, 2), Contains("a/2.jpg: JPEG: "));
  const test::Heard heard;
  CHECK(read(OnError::kSkip, 4) == std::vector<std::int64_t>{2, 2});
  CHECK(read(OnError::kSkip, 3) == std::vector<std::int64_t>{1, 1, 2});
  CHECK_THROWS_WITH(read(OnError::kSkip, 1),
                    Contains("no image of a batch of 1 can be read") && Contains("2.jpg"));
  const auto text = heard.text();
  const auto warning = text.find("a/2.jpg");
  CHECK(warning != std::string::npos);
  CHECK(text.find("a/3.jpg") == std::string::npos);
}

TEST_CASE("ImageFolder: folders without images", "[unit][data]") {
  const test::Folder folder;
  CHECK_THROWS_WITH(ImageFolder(folder / "none"), Contains("there is no folder"));
  CHECK_THROWS_WITH(ImageFolder(folder.path()), Contains("has no folder in it"));
  write(folder / "a/1.png", bytes_of(kPhotos / "cat/a.PNG"));
  write(folder / "b/notes.txt", "");
  write(folder / "c/notes.txt", "");
  CHECK_THROWS_WITH(ImageFolder(folder.path()), Contains("for the classes b, c"));
  const ImageFolder set(folder.path(), {.allow_empty = true});
  CHECK(set.size() == 1);
  CHECK(set.classes().size() == 3);
  fs::create_directory_symlink(folder.path(), folder / "a/again");  // a circle
  CHECK(ImageFolder(folder.path(), {.allow_empty = true}).size() >= 1);
}

}  // namespace image_folder_test
