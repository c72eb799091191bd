// JPEG through libjpeg.
#include "worker/data/image_format.h"

#include <csetjmp>
#include <cstdio>  // before jpeglib.h, which uses FILE

#include <jpeglib.h>

#include <jerror.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace rtrain::data {
namespace {

/// libjpeg reports errors by a jump, which no destructor may stand in the way of: all that has one lives in
/// the caller of run().
class JpegReader {
 public:
  JpegReader() {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = [](j_common_ptr info) {
      auto* const errors = reinterpret_cast<Errors*>(info->err);
      errors->base.format_message(info, errors->text.data());
      std::longjmp(errors->jump, 1);
    };
    errors_.base.output_message = [](j_common_ptr) {};
    // Pillow, too, refuses what ends too early, and takes other faults of the data as they are.
    errors_.base.emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) info->err->error_exit(info);
    };
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Pixels decode(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
    bytes_ = bytes;
    with_exif_ = options.apply_exif_orientation;
    run(&JpegReader::read_header);
    const int orientation = with_exif_ ? saved_orientation() : 1;  // finishing frees the markers
    shrink(options.shrink_to);
    const bool cmyk = info_.num_components == 4;
    info_.out_color_space = cmyk ? JCS_CMYK : info_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_calc_output_dimensions(&info_);
    pixels_.resize(info_.output_height, info_.output_width, info_.out_color_components);
    run(&JpegReader::read_rows);
    if (cmyk) to_rgb();
    pixels_.orientation = orientation;
    return std::move(pixels_);
  }

 private:
  struct Errors {
    jpeg_error_mgr base{};
    std::jmp_buf jump{};
    std::array<char, JMSG_LENGTH_MAX> text{};
  };

  void run(void (JpegReader::*step)()) {
    if (setjmp(errors_.jump) != 0) throw SampleError(errors_.text.data());
    (this->*step)();
  }

  void read_header() {
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, bytes_.data(), bytes_.size());
    if (with_exif_) jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info_, TRUE);
  }

  void shrink(std::int64_t edge) {
    if (edge <= 0) return;
    const auto shorter = static_cast<std::int64_t>(std::min(info_.image_width, info_.image_height));
    info_.scale_num = 1;
    info_.scale_denom = 1;
    for (const unsigned by : {2u, 4u, 8u})
      if ((shorter + by - 1) / by >= edge) info_.scale_denom = by;
  }

  void read_rows() {
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels_.row(info_.output_scanline);
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
  }

  /// Adobe's programs, and Pillow, store CMYK inverted. The conversion is Pillow's.
  void to_rgb() {
    Pixels rgb;
    rgb.resize(pixels_.height, pixels_.width, 3);
    const auto times = [](unsigned a, unsigned b) {  // a * b / 255, rounded
      const auto product = a * b + 128;
      return (product + (product >> 8)) >> 8;
    };
    const auto area = static_cast<std::size_t>(rgb.height * rgb.width);
    for (std::size_t i = 0; i < area; ++i) {
      const auto* const cmyk = pixels_.bytes.data() + 4 * i;
      const unsigned light = cmyk[3];
      for (std::size_t c = 0; c < 3; ++c)
        rgb.bytes[3 * i + c] = static_cast<std::uint8_t>(light - times(255u - cmyk[c], light));
    }
    pixels_ = std::move(rgb);
  }

  [[nodiscard]] int saved_orientation() const {
    constexpr std::size_t kName = 6;  // "Exif\0\0"
    for (auto* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      if (marker->marker == JPEG_APP0 + 1 && marker->data_length >= kName &&
          std::memcmp(marker->data, "Exif\0", kName) == 0)
        return exif_orientation({marker->data + kName, marker->data_length - kName});
    }
    return 1;
  }

  jpeg_decompress_struct info_{};
  Errors errors_;
  std::span<const std::uint8_t> bytes_;
  bool with_exif_ = false;
  Pixels pixels_;
};

}  // namespace

Pixels decode_jpeg(std::span<const std::uint8_t> bytes, const DecodeOptions& options) {
  return JpegReader().decode(bytes, options);
}

}  // namespace rtrain::data
