/* Ends what begin_this_isa.h began. */
#if LF_THIS(HAS_TARGET)
LF_TARGET_END
#endif
