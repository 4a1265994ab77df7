# The CUDA backend: a module of its own, libtessera-cuda.so, that the program opens at run time. And the same sources as
# plain C++ over an emulation of CUDA, libtessera-cuda-emulated.so, for the tests on machines without a GPU.
file(GLOB CUDA_SOURCES CONFIGURE_DEPENDS core/cuda/*.cu)
# What the module needs of core, built into it: it must load into any program, also one that does not export its symbols.
set(CUDA_CORE core/status.c core/memory.c core/tensor.c core/text.c core/op.c core/fsq.c core/random.c core/device_error.c core/widen.c
    core/cuda/geometry.c)
# cuBLAS and cuDNN are not emulated: convolutions and matrix products run on our own kernels there.
set(CUDA_LIBRARY_SOURCES core/cuda/cublas.cu core/cuda/cudnn.cu)

if(TESSERA_CUDA)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
        set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 90-virtual)
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD 20)
    find_package(CUDAToolkit REQUIRED)
    find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR} REQUIRED)
    find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)
    add_library(tessera-cuda MODULE ${CUDA_SOURCES} ${CUDA_CORE})
    target_include_directories(tessera-cuda PRIVATE ${CMAKE_SOURCE_DIR} ${CUDNN_INCLUDE_DIR})
    target_compile_options(tessera-cuda PRIVATE -fvisibility=hidden
        $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers,-fvisibility=hidden>)
    # As on the CPU a product is rounded before it is added, so that a number lies on the same side of an FSQ boundary.
    foreach(family elementwise chain reduce index resample random optim surrogate fsq)
        set_source_files_properties(core/cuda/${family}.cu PROPERTIES COMPILE_OPTIONS --fmad=false)
    endforeach()
    target_link_libraries(tessera-cuda PRIVATE CUDA::cudart_static CUDA::cublasLt ${CUDNN_LIBRARY} m)
    target_link_options(tessera-cuda PRIVATE -Wl,--no-undefined) # a missing kernel does not link
    install(TARGETS tessera-cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/tessera)
endif()

if(TESSERA_TESTS)
    enable_language(CXX)
    set(EMULATED_SOURCES tests/cuda/emulation/emulation.cpp)
    foreach(source ${CUDA_SOURCES})
        file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${source})
        if(NOT name IN_LIST CUDA_LIBRARY_SOURCES)
            set(wrapper ${CMAKE_BINARY_DIR}/emulated/${name}.cpp)
            file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${name}\"\n" @ONLY)
            list(APPEND EMULATED_SOURCES ${wrapper})
        endif()
    endforeach()
    add_library(tessera-cuda-emulated MODULE ${CUDA_CORE} ${EMULATED_SOURCES})
    set_target_properties(tessera-cuda-emulated PROPERTIES CXX_STANDARD 20 CXX_EXTENSIONS ON
        EXPORT_COMPILE_COMMANDS OFF) # clang-tidy reads each file of core once
    target_include_directories(tessera-cuda-emulated PRIVATE ${CMAKE_SOURCE_DIR}/tests/cuda/emulation)
    target_link_libraries(tessera-cuda-emulated PRIVATE tessera_flags m)
    # The module's core is its own, as in the real one; only ts_cuda_module is to be seen.
    target_compile_options(tessera-cuda-emulated PRIVATE -fvisibility=hidden
        $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers$<SEMICOLON>-Wno-unknown-pragmas>)
    if(TESSERA_SANITIZE) # not the checks of C++ alone, whose runtime a C program does not link; a source's options come last
        set_source_files_properties(${EMULATED_SOURCES} PROPERTIES COMPILE_OPTIONS "-fno-sanitize=function,vptr;-O2")
    else() # a sanitizer's functions are the program's
        target_link_options(tessera-cuda-emulated PRIVATE -Wl,--no-undefined)
    endif()
endif()
