// PNG through libpng.
#include "worker/data/image_format.h"

#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>

namespace rtrain::data {
namespace {

/// libpng reports errors by a jump, which no destructor may stand in the way of: all that has one is a
/// member.
class PngReader {
 public:
  PngReader() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) throw SampleError("libpng does not start");
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  Pixels decode(std::span<const std::uint8_t> bytes) {
    rest_ = bytes;
    run(&PngReader::read_header);
    pixels_.resize(png_get_image_height(png_, info_), png_get_image_width(png_, info_),
                   png_get_channels(png_, info_));
    for (std::int64_t y = 0; y < pixels_.height; ++y) rows_.push_back(pixels_.row(y));
    run(&PngReader::read_rows);
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png_, info_, &size, &exif) != 0) pixels_.orientation = exif_orientation({exif, size});
    return std::move(pixels_);
  }

 private:
  static void on_error(png_structp png, png_const_charp text) {
    auto* const self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->text_.data(), self->text_.size(), "%s", text);
    std::longjmp(self->jump_, 1);
  }
  static void on_read(png_structp png, png_bytep into, std::size_t size) {
    auto* const self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > self->rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(into, self->rest_.data(), size);
    self->rest_ = self->rest_.subspan(size);
  }
  void run(void (PngReader::*step)()) {
    if (setjmp(jump_) != 0) throw SampleError(text_.data());
    (this->*step)();
  }

  void read_header() {
    png_set_read_fn(png_, this, on_read);
    png_read_info(png_, info_);
    png_set_expand(png_);    // palettes, fewer than 8 bits, a transparent color
    png_set_strip_16(png_);  // the upper 8 bits
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }
  void read_rows() {
    png_read_image(png_, rows_.data());
    png_read_end(png_, info_);
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_{};
  std::array<char, 200> text_{};
  std::span<const std::uint8_t> rest_;
  std::vector<png_bytep> rows_;
  Pixels pixels_;
};

}  // namespace

Pixels decode_png(std::span<const std::uint8_t> bytes, const DecodeOptions&) {
  return PngReader().decode(bytes);
}

}  // namespace rtrain::data
